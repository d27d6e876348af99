import Primitives

/// In which bucket of a routing table a key may be, by 23 bits of it, so that who sends us something is found, or is known
/// to be a stranger, without hashing its key. Four bytes for a key and a third to spare; linear probing.
struct BucketOfKey: Sendable {
    struct Candidate {
        let bucket: Int
        fileprivate let slot: Int
    }

    /// 0: free; else 1, 23 bits of the key, of which the low ones are its first slot, and 8 of the bucket.
    private var slots: [UInt32] = []
    private var count = 0

    private static func tag(_ key: PublicKey) -> UInt32 {
        1 << 23 | UInt32(truncatingIfNeeded: key.value.w0 >> 41)
    }
    private var mask: Int { slots.count - 1 }

    /// `bucket` is at most 255.
    mutating func insert(_ key: PublicKey, _ bucket: Int) {
        count += 1
        if count * 4 > slots.count * 3 { grow() }
        put(Self.tag(key) << 8 | UInt32(truncatingIfNeeded: bucket))
    }

    mutating func remove(_ key: PublicKey, _ bucket: Int) {
        guard !slots.isEmpty else { return }
        let gone = Self.tag(key) << 8 | UInt32(truncatingIfNeeded: bucket)
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

    func first(_ key: PublicKey) -> Candidate? {
        slots.isEmpty ? nil : find(Self.tag(key), from: Int(Self.tag(key)) & mask)
    }

    func next(_ key: PublicKey, after candidate: Candidate) -> Candidate? {
        find(Self.tag(key), from: (candidate.slot + 1) & mask)
    }

    private func find(_ tag: UInt32, from start: Int) -> Candidate? {
        var slot = start
        while slots[slot] != 0 {
            if slots[slot] >> 8 == tag { return Candidate(bucket: Int(slots[slot] & 0xff), slot: slot) }
            slot = (slot + 1) & mask
        }
        return nil
    }

    private func home(_ entry: UInt32) -> Int { Int(entry >> 8) & mask }

    private mutating func put(_ entry: UInt32) {
        var slot = home(entry)
        while slots[slot] != 0 { slot = (slot + 1) & mask }
        slots[slot] = entry
    }

    private mutating func grow() {
        let old = slots
        slots = [UInt32](repeating: 0, count: max(32, 2 * old.count))
        for entry in old where entry != 0 { put(entry) }
    }
}
