import Primitives

/// Counts bytes at the carrier for unproven addresses: out must not exceed in. The victim's own initiations
/// are counted separately: they go to addresses that a peer has named, and are bounded by rate.
package struct PathLedger {
    private struct Account {
        var bytesIn = 0
        var bytesOut = 0
        var isProven = false
    }
    private var accounts: [Endpoint: Account] = [:]
    /// The highest out ÷ in of any address before it was proven.
    package private(set) var ratioMax = 0.0
    /// Bytes and datagrams of answers to unproven addresses.
    package private(set) var answers = 0
    package private(set) var probes = 0

    package init() {}

    package mutating func received(_ bytes: Int, from source: Endpoint) {
        accounts[source, default: Account()].bytesIn += bytes
    }

    package mutating func proved(_ endpoint: Endpoint) {
        accounts[endpoint, default: Account()].isProven = true
    }

    package func isProven(_ endpoint: Endpoint) -> Bool { accounts[endpoint]?.isProven ?? false }

    /// A datagram that leaves; `kind` is its first byte.
    package mutating func sent(_ bytes: Int, kind: UInt8, to endpoint: Endpoint) {
        guard kind != 1 else {
            probes += 1
            return
        }
        var account = accounts[endpoint] ?? Account()
        guard !account.isProven else { return }
        account.bytesOut += bytes
        accounts[endpoint] = account
        answers += 1
        ratioMax = max(ratioMax, Double(account.bytesOut) / Double(max(1, account.bytesIn)))
        precondition(
            account.bytesOut <= account.bytesIn,
            "\(account.bytesOut) bytes to \(endpoint), which has proven nothing and sent \(account.bytesIn)")
    }
}
