import Primitives

/// Values by 32-bit numbers that a stranger's packet names: number = generation ‖ slot, so that the number of
/// a removed value finds nothing. At most 65,535 values; drawing a random one is free. It grows by an eighth,
/// because a value may be large and an idle node should keep only as many as it needs.
struct SlotTable<Value: Sendable>: Sendable {
    private var slots: [Value?] = []
    private var generations: [UInt16] = []
    private var free: [UInt16] = []
    /// Slots in use, in no order, and each slot's index in that list.
    private var used: [UInt16] = []
    private var place: [UInt16] = []
    private let firstGeneration: UInt16
    let capacity: Int

    init(capacity: Int, firstGeneration: UInt16) {
        self.capacity = min(capacity, 65_535)
        self.firstGeneration = firstGeneration
    }

    var count: Int { used.count }

    /// All numbers, in an arbitrary but repeatable order.
    var numbers: [UInt32] { used.map { UInt32(generations[Int($0)]) << 16 | UInt32($0) } }

    func draw(_ random: inout SeededRandom) -> UInt32? {
        guard !used.isEmpty else { return nil }
        let slot = used[random.below(used.count)]
        return UInt32(generations[Int(slot)]) << 16 | UInt32(slot)
    }

    /// Returns nil when the table is full.
    mutating func insert(_ value: Value) -> UInt32? {
        let slot: UInt16
        if let reused = free.popLast() {
            slot = reused
        } else {
            guard slots.count < capacity else { return nil }
            slot = UInt16(slots.count)
            slots.appendSparingly(nil)
            generations.appendSparingly(firstGeneration)
            place.appendSparingly(0)
        }
        slots[Int(slot)] = value
        generations[Int(slot)] &+= 1
        place[Int(slot)] = UInt16(used.count)
        used.appendSparingly(slot)
        return UInt32(generations[Int(slot)]) << 16 | UInt32(slot)
    }

    /// The number of the value in `slot`.
    func number(_ slot: UInt16) -> UInt32 { UInt32(generations[Int(slot)]) << 16 | UInt32(slot) }

    /// The value in a slot found by an index.
    subscript(slot slot: UInt16) -> Value? {
        _read { yield slots[Int(slot)] }
    }

    subscript(_ number: UInt32) -> Value? {
        _read {
            if contains(number) {
                yield slots[Int(number & 0xffff)]
            } else {
                yield nil
            }
        }
        _modify {
            if contains(number) {
                yield &slots[Int(number & 0xffff)]
            } else {
                var nothing: Value?
                yield &nothing
            }
        }
    }

    func contains(_ number: UInt32) -> Bool {
        let slot = Int(number & 0xffff)
        return slot < slots.count && UInt32(generations[slot]) == number >> 16 && slots[slot] != nil
    }

    @discardableResult
    mutating func remove(_ number: UInt32) -> Value? {
        guard contains(number) else { return nil }
        let slot = UInt16(truncatingIfNeeded: number)
        let value = slots[Int(slot)]
        slots[Int(slot)] = nil
        let hole = place[Int(slot)]
        let last = used.removeLast()
        if last != slot {
            used[Int(hole)] = last
            place[Int(last)] = hole
        }
        free.append(slot)
        return value
    }
}

/// Slots of a `SlotTable` by a hash of something in their values (a key, an address group): chains of 16-bit
/// links, latest first. It takes two bytes for a link, two for the hash and two to four for the head, where a
/// dictionary of arrays takes a hundred. The caller compares the values along a chain itself.
struct SlotChains: Sendable {
    /// A slot plus one; 0 for none. The size is a power of two, at least the number of slots ever in use.
    private var heads: [UInt16] = []
    private var links: [UInt16] = []
    private var hashes: [UInt16] = []
    /// Odd and secret, so that no outsider can aim at one chain.
    private let mixer: UInt64
    private(set) var count = 0

    init(secret: UInt64) { mixer = secret | 1 }

    private func short(_ hash: UInt64) -> UInt16 {
        UInt16(truncatingIfNeeded: ((hash ^ mixer >> 32) &* mixer) >> 48)
    }

    mutating func insert(_ slot: UInt16, _ hash: UInt64) {
        while links.count <= Int(slot) {
            links.appendSparingly(0)
            hashes.appendSparingly(0)
        }
        count += 1
        if count > heads.count { grow() }
        hashes[Int(slot)] = short(hash)
        link(slot)
    }

    private mutating func link(_ slot: UInt16) {
        let head = Int(hashes[Int(slot)]) & (heads.count - 1)
        links[Int(slot)] = heads[head]
        heads[head] = slot + 1
    }

    mutating func remove(_ slot: UInt16, _ hash: UInt64) {
        guard !heads.isEmpty else { return }
        let head = Int(short(hash)) & (heads.count - 1)
        if heads[head] == slot + 1 {
            heads[head] = links[Int(slot)]
            count -= 1
            return
        }
        var at = heads[head]
        while at != 0 {
            if links[Int(at - 1)] == slot + 1 {
                links[Int(at - 1)] = links[Int(slot)]
                count -= 1
                return
            }
            at = links[Int(at - 1)]
        }
    }

    /// The latest slot with that hash, or one that collides with it.
    func first(_ hash: UInt64) -> UInt16? {
        guard !heads.isEmpty else { return nil }
        let wanted = short(hash)
        return next(from: heads[Int(wanted) & (heads.count - 1)], wanted)
    }

    func next(after slot: UInt16) -> UInt16? { next(from: links[Int(slot)], hashes[Int(slot)]) }

    private func next(from start: UInt16, _ wanted: UInt16) -> UInt16? {
        var at = start
        while at != 0 {
            if hashes[Int(at - 1)] == wanted { return at - 1 }
            at = links[Int(at - 1)]
        }
        return nil
    }

    /// Keeps the order in each chain by walking old chains from their ends.
    private mutating func grow() {
        var slots: [UInt16] = []
        slots.reserveCapacity(count)
        for head in heads {
            let start = slots.count
            var at = head
            while at != 0 {
                slots.append(at - 1)
                at = links[Int(at - 1)]
            }
            slots[start...].reverse()
        }
        heads = [UInt16](repeating: 0, count: max(8, 2 * heads.count))
        for slot in slots { link(slot) }
    }
}

/// Numbers by group (an address prefix, or an endpoint where those are counted), with a random one on demand.
/// Groups are never iterated.
struct GroupIndex: Sendable {
    private var members: [UInt64: [UInt32]] = [:]

    func count(_ group: UInt64) -> Int { members[group]?.count ?? 0 }

    mutating func insert(_ number: UInt32, _ group: UInt64) { members[group, default: []].append(number) }

    mutating func remove(_ number: UInt32, _ group: UInt64) {
        guard let position = members[group]?.firstIndex(of: number) else { return }
        let last = count(group) - 1
        guard last > 0 else {
            members[group] = nil
            members.releaseIfEmpty()
            return
        }
        members[group]?.swapAt(position, last)
        members[group]?.removeLast()
    }

    func draw(_ group: UInt64, _ random: inout SeededRandom) -> UInt32? {
        guard let all = members[group], !all.isEmpty else { return nil }
        return all[random.below(all.count)]
    }
}
