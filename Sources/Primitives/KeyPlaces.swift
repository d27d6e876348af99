/// Finds the places in a table where a key may be, by 15 bits of it; the table compares the candidates with
/// the key. Keys are hashes or curve points, so their bits need no mixing; an attacker who grinds some only
/// lengthens the walk by the entries that it got into the table. Four bytes for a key plus a third in
/// reserve, where a dictionary takes the key and as much again.
public struct KeyPlaces: Sendable {
    public struct Candidate: Sendable {
        /// At most 65,535.
        public let place: Int
        @usableFromInline let slot: Int

        @inlinable
        init(place: Int, slot: Int) {
            self.place = place
            self.slot = slot
        }
    }

    /// 0 if free; else 1, then 15 bits of the key (the low ones select its first slot), then 16 of the place.
    /// Linear probing.
    @usableFromInline var slots: [UInt32] = []
    @usableFromInline var count = 0

    @inlinable
    public init() {}

    @inlinable
    static func tag(_ key: Bytes32) -> UInt32 { 1 << 15 | UInt32(truncatingIfNeeded: key.w0 >> 49) }
    @inlinable var mask: Int { slots.count - 1 }

    public mutating func insert(_ key: Bytes32, at place: Int) {
        precondition(place >= 0 && place <= 0xffff, "KeyPlaces has no place \(place)")
        count += 1
        if count * 4 > slots.count * 3 { grow() }
        put(Self.tag(key) << 16 | UInt32(place))
    }

    public mutating func remove(_ key: Bytes32, at place: Int) {
        guard !slots.isEmpty else { return }
        let gone = Self.tag(key) << 16 | UInt32(truncatingIfNeeded: place)
        var hole = home(gone)
        while slots[hole] != gone {
            guard slots[hole] != 0 else { return }
            hole = (hole + 1) & mask
        }
        count -= 1
        var next = (hole + 1) & mask
        while slots[next] != 0 {
            if (next &- home(slots[next])) & mask >= (next &- hole) & mask {
                slots[hole] = slots[next]
                hole = next
            }
            next = (next + 1) & mask
        }
        slots[hole] = 0
    }

    @inlinable
    public func first(_ key: Bytes32) -> Candidate? {
        slots.isEmpty ? nil : find(Self.tag(key), from: Int(Self.tag(key)) & mask)
    }

    @inlinable
    public func next(_ key: Bytes32, after candidate: Candidate) -> Candidate? {
        find(Self.tag(key), from: (candidate.slot + 1) & mask)
    }

    @inlinable
    func find(_ tag: UInt32, from start: Int) -> Candidate? {
        var slot = start
        while slots[slot] != 0 {
            if slots[slot] >> 16 == tag { return Candidate(place: Int(slots[slot] & 0xffff), slot: slot) }
            slot = (slot + 1) & mask
        }
        return nil
    }

    private func home(_ entry: UInt32) -> Int { Int(entry >> 16) & mask }

    private mutating func put(_ entry: UInt32) {
        var slot = home(entry)
        while slots[slot] != 0 { slot = (slot + 1) & mask }
        slots[slot] = entry
    }

    private mutating func grow() {
        let old = slots
        slots = [UInt32](repeating: 0, count: max(16, 2 * old.count))
        for entry in old where entry != 0 { put(entry) }
    }
}
