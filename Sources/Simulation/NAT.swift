// Network address translators: what home routers and carriers do to the datagrams of the machine behind them.
// Each serves one machine and has its own outside address.
//
// The names are those of RFC 3489 §5; in the words of RFC 4787 §4 and §5:
//
// | kind            | mapping                                     | filtering                     |
// | --------------- | ------------------------------------------- | ----------------------------- |
// | full-cone       | endpoint-independent                        | endpoint-independent          |
// | restricted      | endpoint-independent                        | address-dependent             |
// | port-restricted | endpoint-independent                        | address- and port-dependent   |
// | symmetric       | address- and port-dependent                 | address- and port-dependent   |
//
// Ports are drawn, not preserved. Outgoing datagrams keep a mapping, and the filter's record of their
// destination, alive for `idle` (RFC 4787 REQ-5 and REQ-6: only outbound traffic refreshes; many routers
// forget after 30 to 60 s). Connections go out; none comes in. Not modelled: several machines behind one
// address, hairpinning, hole punching for TCP.

import Primitives

/// The translator between a machine and the network.
public enum NATKind: String, Sendable, CaseIterable {
    case none
    case fullCone = "full-cone"
    case restricted
    case portRestricted = "port-restricted"
    case symmetric
}

/// All mappings of a world. Addresses are numbers: machines' own from 0 on, mappings below 0.
struct Translators {
    private struct Mapping {
        var machine: Int32
        var port: UInt16
        var kind: NATKind
        /// When something was last sent by it.
        var lastSent: Int64
        /// When something was last sent to a machine (restricted), or to an address and port.
        var permissions: [UInt64: Int64] = [:]
    }

    private struct Inside: Hashable {
        var machine: Int32
        /// Zero if the mapping doesn't depend on it.
        var destination: UInt64
    }

    private let idle: Int64
    private var mappings: [Mapping] = []
    private var current: [Inside: Int32] = [:]
    /// The newest mapping of each outside address and port.
    private var byOutside: [UInt64: Int32] = [:]
    private var random: SeededRandom
    /// The newest fresh port of each machine that needed one.
    private var apart: [Int32: Int32] = [:]

    /// When one mapping has more permissions than this, expired ones are removed.
    private static let permissionsMax = 512

    init(idle: Interval, random: SeededRandom) {
        self.idle = idle.nanoseconds
        self.random = random
    }

    /// The outside address from which a datagram of `machine` to `destination` is sent at `time`.
    mutating func leaving(_ machine: Int32, _ kind: NATKind, to destination: Int32, at time: Int64) -> Int32 {
        guard kind != .none else { return machine }
        let place = place(of: destination)
        let inside = Inside(machine: machine, destination: kind == .symmetric ? place : 0)
        let number: Int32
        if let known = current[inside], time - mappings[Int(-1 - known)].lastSent <= idle {
            number = known
        } else {
            number = map(machine, kind, time)
            current[inside] = number
        }
        let index = Int(-1 - number)
        mappings[index].lastSent = time
        if kind != .fullCone {
            mappings[index].permissions[kind == .restricted ? place >> 16 : place] = time
            if mappings[index].permissions.count > Self.permissionsMax {
                let idle = idle
                mappings[index].permissions = mappings[index].permissions.filter { time - $0.value <= idle }
            }
        }
        return number
    }

    /// The outside address of the machine's second port, from which datagrams are sent that must come from a
    /// fresh one. Datagrams to it go nowhere.
    mutating func leavingApart(_ machine: Int32, _ kind: NATKind, at time: Int64) -> Int32 {
        if let known = apart[machine], time - mappings[Int(-1 - known)].lastSent <= idle {
            mappings[Int(-1 - known)].lastSent = time
            return known
        }
        let number = map(machine, kind, time)
        apart[machine] = number
        return number
    }

    /// Whether the address is such a port.
    func isApart(_ address: Int32) -> Bool { address < 0 && apart[machine(of: address)] == address }

    private mutating func map(_ machine: Int32, _ kind: NATKind, _ time: Int64) -> Int32 {
        var port: UInt16
        repeat { port = UInt16(1_024 + random.below(64_000)) } while isTaken(machine, port, time)
        let number = -1 - Int32(mappings.count)
        mappings.append(Mapping(machine: machine, port: port, kind: kind, lastSent: time))
        byOutside[Self.place(machine, port)] = number
        return number
    }

    /// 7827 stays free, so that no port of a NAT is mistaken for a machine without one.
    private func isTaken(_ machine: Int32, _ port: UInt16, _ time: Int64) -> Bool {
        if port == World.port { return true }
        guard let number = byOutside[Self.place(machine, port)] else { return false }
        return time - mappings[Int(-1 - number)].lastSent <= idle
    }

    /// Whether a datagram from the address `source` passes the mapping `number` at `time`.
    func admits(_ number: Int32, from source: Int32, at time: Int64) -> Bool {
        let mapping = mappings[Int(-1 - number)]
        guard time - mapping.lastSent <= idle else { return false }
        let place = place(of: source)
        switch mapping.kind {
        case .none, .fullCone: return true
        case .restricted: return isRecent(mapping.permissions[place >> 16], time)
        case .portRestricted, .symmetric: return isRecent(mapping.permissions[place], time)
        }
    }

    private func isRecent(_ permission: Int64?, _ time: Int64) -> Bool {
        permission.map { time - $0 <= idle } ?? false
    }

    // MARK: Addresses

    /// The machine at, or behind, an address.
    func machine(of address: Int32) -> Int32 {
        address >= 0 ? address : mappings[Int(-1 - address)].machine
    }

    func port(of address: Int32) -> UInt16 { address >= 0 ? World.port : mappings[Int(-1 - address)].port }

    /// The mapping at a machine's outside address and port; nil if there never was one.
    func number(_ machine: Int32, port: UInt16) -> Int32? { byOutside[Self.place(machine, port)] }

    private func place(of address: Int32) -> UInt64 { Self.place(machine(of: address), port(of: address)) }

    private static func place(_ machine: Int32, _ port: UInt16) -> UInt64 {
        UInt64(UInt32(bitPattern: machine)) << 16 | UInt64(port)
    }
}
