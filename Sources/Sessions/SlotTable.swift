import Primitives

/// Values under 32-bit numbers that a stranger's packet names: number = generation ‖ slot, so that a number of a value
/// that is gone finds nothing. At most 65,536 values; drawing a random one costs nothing.
struct SlotTable<Value: Sendable>: Sendable {
    private var slots: [Value?] = []
    private var generations: [UInt16] = []
    private var free: [UInt16] = []
    /// Slots in use, in no order, and where in that list each slot is.
    private var used: [UInt16] = []
    private var place: [UInt16] = []
    private let firstGeneration: UInt16
    let capacity: Int

    init(capacity: Int, firstGeneration: UInt16) {
        self.capacity = min(capacity, 65_536)
        self.firstGeneration = firstGeneration
    }

    var count: Int { used.count }

    /// All numbers, in the order of no one's choosing, but a repeatable one.
    var numbers: [UInt32] { used.map { UInt32(generations[Int($0)]) << 16 | UInt32($0) } }

    func draw(_ random: inout SeededRandom) -> UInt32? {
        guard !used.isEmpty else { return nil }
        let slot = used[random.below(used.count)]
        return UInt32(generations[Int(slot)]) << 16 | UInt32(slot)
    }

    /// nil when the table is full.
    mutating func insert(_ value: Value) -> UInt32? {
        let slot: UInt16
        if let reused = free.popLast() {
            slot = reused
        } else {
            guard slots.count < capacity else { return nil }
            slot = UInt16(slots.count)
            slots.append(nil)
            generations.append(firstGeneration)
            place.append(0)
        }
        slots[Int(slot)] = value
        generations[Int(slot)] &+= 1
        place[Int(slot)] = UInt16(used.count)
        used.append(slot)
        return UInt32(generations[Int(slot)]) << 16 | UInt32(slot)
    }

    subscript(_ number: UInt32) -> Value? {
        get { contains(number) ? slots[Int(number & 0xffff)] : nil }
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

/// Numbers by group (an address prefix, or an endpoint where those are counted), with a random one on demand. Nothing
/// iterates over the groups.
struct GroupIndex: Sendable {
    private var members: [UInt64: [UInt32]] = [:]

    func count(_ group: UInt64) -> Int { members[group]?.count ?? 0 }

    mutating func insert(_ number: UInt32, _ group: UInt64) { members[group, default: []].append(number) }

    mutating func remove(_ number: UInt32, _ group: UInt64) {
        guard let position = members[group]?.firstIndex(of: number) else { return }
        let last = count(group) - 1
        guard last > 0 else { return members[group] = nil }
        members[group]?.swapAt(position, last)
        members[group]?.removeLast()
    }

    func draw(_ group: UInt64, _ random: inout SeededRandom) -> UInt32? {
        guard let all = members[group], !all.isEmpty else { return nil }
        return all[random.below(all.count)]
    }
}

extension Endpoint {
    /// What the bounds per source count: the prefix, or the endpoint itself where `countsEndpoints` says so or the
    /// address is this machine's own, which no one from elsewhere can have.
    func group(countsEndpoints: Bool) -> UInt64 {
        countsEndpoints || isLoopback ? high &* 0x9e37_79b9_7f4a_7c15 ^ low << 16 ^ UInt64(port) : prefix
    }
}
