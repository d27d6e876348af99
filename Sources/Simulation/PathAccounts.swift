import Primitives

/// The carrier's book of who sent how much to whom before the other end proved its address. The protocol's promise:
/// answers to an unproven address never outweigh what came from there (DESIGN §5). First messages are our own doing and
/// have a budget of their own, so they don't count.
struct PathAccounts {
    private static let initiation: UInt8 = 1
    private static let response: UInt8 = 2
    private static let transport: UInt8 = 4

    private struct Path {
        var bytesIn = 0
        var bytesOut = 0
    }

    /// Those that have not proven themselves.
    private var paths: [Int32: Path] = [:]
    private var proven = AddressSet()

    /// `isGenuine`: the bytes really come from that address.
    mutating func received(_ bytes: UnsafeMutableRawBufferPointer, from address: Int32, isGenuine: Bool) {
        guard let kind = bytes.first, !proven.contains(address) else { return }
        if isGenuine, kind == Self.response || kind == Self.transport {
            proven.insert(address)
            paths[address] = nil
            paths.releaseIfEmpty()
        } else {
            paths[address, default: Path()].bytesIn += bytes.count
        }
    }

    /// Bytes beyond what is allowed; 0: in order.
    mutating func sent(_ bytes: UnsafeRawBufferPointer, to address: Int32) -> Int {
        guard let kind = bytes.first, kind != Self.initiation, !proven.contains(address) else { return 0 }
        guard var path = paths[address] else { return bytes.count }
        path.bytesOut += bytes.count
        paths[address] = path
        return max(0, path.bytesOut - path.bytesIn)
    }
}

/// Addresses, four bytes each and as much again to spare; linear probing.
private struct AddressSet {
    /// One more than an address; 0: free.
    private var slots: [UInt32] = []
    private var count = 0

    private func home(_ entry: UInt32) -> Int { Int((entry &* 0x9e37_79b9) >> 7) & (slots.count - 1) }

    func contains(_ address: Int32) -> Bool {
        guard !slots.isEmpty else { return false }
        let entry = UInt32(bitPattern: address) &+ 1
        var slot = home(entry)
        while slots[slot] != 0 {
            if slots[slot] == entry { return true }
            slot = (slot + 1) & (slots.count - 1)
        }
        return false
    }

    mutating func insert(_ address: Int32) {
        count += 1
        if count * 4 > slots.count * 3 {
            let old = slots
            slots = [UInt32](repeating: 0, count: max(16, 2 * old.count))
            for entry in old where entry != 0 { put(entry) }
        }
        put(UInt32(bitPattern: address) &+ 1)
    }

    private mutating func put(_ entry: UInt32) {
        var slot = home(entry)
        while slots[slot] != 0 { slot = (slot + 1) & (slots.count - 1) }
        slots[slot] = entry
    }
}
