import Logging
import NIOCore
import Primitives
import Synchronization

/// The gateway's open connections, within the bounds of `ConnectionTable`.
final class Connections: Sendable {
    struct Counts: Sendable, Equatable {
        var open = 0
        /// Closed to make room for newer ones.
        var replaced: UInt64 = 0
        /// Closed at once, because no other waited.
        var refused: UInt64 = 0
    }

    private struct State {
        var table: ConnectionTable
        var channels: [ConnectionTable.ID: any Channel] = [:]
        var counts = Counts()
        var isLeaving = false
        var warnedAt: ContinuousClock.Instant?
    }

    private static let warningsEvery = Duration.seconds(60)
    private let state: Mutex<State>
    private let countMax: Int
    private let logger: Logger

    init(countMax: Int, logger: Logger) {
        self.countMax = countMax
        self.logger = logger
        state = Mutex(State(table: ConnectionTable(countMax: countMax)))
    }

    var counts: Counts {
        state.withLock { state in
            var counts = state.counts
            counts.open = state.table.count
            return counts
        }
    }

    /// Returns the connection's id, or nil: close it.
    func open(_ channel: any Channel) -> ConnectionTable.ID? {
        let source = channel.remoteAddress.map(ConnectionTable.Source.init) ?? .machine
        let (id, closing, warns) = state.withLock {
            state -> (ConnectionTable.ID?, (any Channel)?, Bool) in
            guard !state.isLeaving else { return (nil, nil, false) }
            var closing: (any Channel)?
            var opened: ConnectionTable.ID?
            switch state.table.open(from: source) {
            case .admitted(let id): opened = id
            case .replacing(let id, let other):
                opened = id
                closing = state.channels.removeValue(forKey: other)
                state.counts.replaced += 1
            case .refused: state.counts.refused += 1
            }
            if let opened { state.channels[opened] = channel }
            let isFull = opened == nil || closing != nil
            let now = ContinuousClock.now
            let warns = isFull && state.warnedAt.map { now - $0 >= Self.warningsEvery } ?? isFull
            if warns { state.warnedAt = now }
            return (opened, closing, warns)
        }
        closing?.close(promise: nil)
        if warns {
            logger.warning(
                "HTTP connections reach their bound: those that have waited longest are closed for new ones",
                metadata: [
                    "bound": .stringConvertible(countMax),
                    "per_address": .stringConvertible(ConnectionTable.perSourceMax(of: countMax)),
                ])
        }
        return id
    }

    /// Refuses new ones, and returns those that are open.
    func leave() -> [any Channel] {
        state.withLock { state in
            state.isLeaving = true
            return Array(state.channels.values)
        }
    }

    func set(_ id: ConnectionTable.ID, waits: Bool) {
        state.withLock { $0.table.set(id, waits: waits) }
    }

    func close(_ id: ConnectionTable.ID) {
        state.withLock { state in
            state.table.close(id)
            state.channels[id] = nil
        }
    }
}

extension ConnectionTable.Source {
    /// An address that is neither IPv4 nor IPv6 is of this machine.
    fileprivate init(_ address: SocketAddress) {
        switch address {
        case .v4(let address):
            self.init(Endpoint(ipv4: UInt32(bigEndian: address.address.sin_addr.s_addr), port: 0))
        case .v6(let address):
            let (high, low) = withUnsafeBytes(of: address.address.sin6_addr) { bytes in
                (
                    bytes.loadUnaligned(as: UInt64.self),
                    bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
                )
            }
            self.init(Endpoint(high: UInt64(bigEndian: high), low: UInt64(bigEndian: low), port: 0))
        case .unixDomainSocket: self = .machine
        }
    }
}
