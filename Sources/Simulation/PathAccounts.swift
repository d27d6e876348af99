import Primitives

/// The carrier's accounts of bytes sent to and received from unproven addresses. The protocol promises that
/// answers to an unproven address never exceed the bytes received from it. First messages are our own
/// initiative and have their own budget, so they don't count.
struct PathAccounts {
    private static let initiation: UInt8 = 1
    private static let response: UInt8 = 2
    private static let transport: UInt8 = 4

    private struct Path {
        var bytesIn = 0
        var bytesOut = 0
    }

    /// Addresses that have not proven themselves.
    private var paths: [Int32: Path] = [:]
    private var proven = WordSet()

    /// `isGenuine` says that the bytes really come from that address.
    mutating func received(_ bytes: UnsafeMutableRawBufferPointer, from address: Int32, isGenuine: Bool) {
        guard let kind = bytes.first, !proven.contains(UInt32(bitPattern: address)) else { return }
        if isGenuine, kind == Self.response || kind == Self.transport {
            proven.insert(UInt32(bitPattern: address))
            paths[address] = nil
            paths.releaseIfEmpty()
        } else {
            paths[address, default: Path()].bytesIn += bytes.count
        }
    }

    /// Bytes beyond what is allowed; 0 if there is no excess.
    mutating func sent(_ bytes: UnsafeRawBufferPointer, to address: Int32) -> Int {
        guard let kind = bytes.first, kind != Self.initiation, !proven.contains(UInt32(bitPattern: address))
        else { return 0 }
        guard var path = paths[address] else { return bytes.count }
        path.bytesOut += bytes.count
        paths[address] = path
        return max(0, path.bytesOut - path.bytesIn)
    }
}
