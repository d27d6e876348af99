/// Deadlines by key: a machine asks for the earliest one and takes what is due, so no table is ever scanned.
/// A key has one deadline; setting it again moves it. Equal deadlines come in the order in which they were
/// set.
///
/// A heap whose entries know the hash of their key, and a table from hash to place in the heap. So a deadline
/// is moved in place and nothing stale is kept. The earliest deadline, which every event asks of every
/// machine, is the first entry. A few keys are found without the table. Memory taken by a burst is given
/// back.
///
/// Inlinable, like all generic code of this target: unspecialised, each call would look up metadata.
public struct DeadlineQueue<Key: Hashable & Sendable>: Sendable {
    @usableFromInline
    struct Entry: Sendable {
        @usableFromInline var key: Key
        @usableFromInline var hash: UInt32
        @usableFromInline var time: MonotonicTime
        @usableFromInline var sequence: UInt64

        @inlinable
        init(key: Key, hash: UInt32, time: MonotonicTime, sequence: UInt64) {
            self.key = key
            self.hash = hash
            self.time = time
            self.sequence = sequence
        }

        @inlinable
        func isBefore(_ other: Entry) -> Bool {
            time != other.time ? time < other.time : sequence < other.sequence
        }
    }

    /// Four children per node: shallower than a binary heap, and siblings share cache lines.
    @usableFromInline var heap: [Entry] = []
    /// Linear probing from the hash on. An entry is a place in `heap` plus one, or 0 if free. Empty, or a
    /// power of two that is at least a third larger than the heap.
    @usableFromInline var places: [UInt32] = []
    @usableFromInline var sequence: UInt64 = 0

    /// Up to this many keys are found by comparing them all.
    @inlinable static var scannedMax: Int { 8 }

    @inlinable
    public init() {}

    @inlinable
    public var count: Int { heap.count }

    /// Sets or moves the deadline of `key`.
    @inlinable
    public mutating func set(_ key: Key, at time: MonotonicTime) {
        sequence += 1
        let hash = hash(key)
        let found = place(of: key, hash)
        if found >= 0 {
            let isEarlier = time < heap[found].time
            heap[found].time = time
            heap[found].sequence = sequence
            if isEarlier { rise(found) } else { sink(found) }
            return
        }
        heap.appendSparingly(Entry(key: key, hash: hash, time: time, sequence: sequence), room: 4)
        if places.isEmpty ? heap.count > Self.scannedMax : heap.count * 4 > places.count * 3 {
            index()
        } else if !places.isEmpty {
            places[freeSlot(hash)] = UInt32(truncatingIfNeeded: heap.count)
        }
        rise(heap.count - 1)
    }

    @inlinable
    public mutating func cancel(_ key: Key) {
        guard !heap.isEmpty else { return }
        let found = place(of: key, hash(key))
        if found >= 0 { _ = remove(found) }
    }

    /// The earliest deadline, or `.never`.
    @inlinable
    public func next() -> MonotonicTime { heap.isEmpty ? .never : heap[0].time }

    /// Removes and returns one key whose deadline is at or before `now`, the earliest first.
    @inlinable
    public mutating func popDue(_ now: MonotonicTime) -> Key? {
        next() <= now && !heap.isEmpty ? remove(0) : nil
    }

    // MARK: The heap

    @inlinable
    mutating func remove(_ position: Int) -> Key {
        let removed = heap[position]
        if !places.isEmpty { clear(slot(of: position, removed.hash)) }
        let last = heap.removeLast()
        if position < heap.count {
            move(last, from: heap.count, to: position)
            rise(position)
            sink(position)
        }
        if heap.capacity > 8, heap.count * 4 < heap.capacity { shrink() }
        return removed.key
    }

    @inlinable
    mutating func shrink() {
        var kept: [Entry] = []
        kept.reserveCapacity(heap.count + heap.count / 4)
        kept.append(contentsOf: heap)
        heap = kept
        index()
    }

    @inlinable
    mutating func move(_ entry: Entry, from old: Int, to new: Int) {
        heap[new] = entry
        if !places.isEmpty { places[slot(of: old, entry.hash)] = UInt32(truncatingIfNeeded: new + 1) }
    }

    @inlinable
    mutating func rise(_ start: Int) {
        var position = start
        while position > 0 {
            let parent = (position - 1) >> 2
            guard heap[position].isBefore(heap[parent]) else { return }
            exchange(position, parent)
            position = parent
        }
    }

    @inlinable
    mutating func sink(_ start: Int) {
        var position = start
        while true {
            let first = position << 2 + 1
            guard first < heap.count else { return }
            var least = first
            var child = first + 1
            while child < min(first + 4, heap.count) {
                if heap[child].isBefore(heap[least]) { least = child }
                child += 1
            }
            guard heap[least].isBefore(heap[position]) else { return }
            exchange(position, least)
            position = least
        }
    }

    @inlinable
    mutating func exchange(_ a: Int, _ b: Int) {
        if !places.isEmpty {
            let first = slot(of: a, heap[a].hash)
            let second = slot(of: b, heap[b].hash)
            places[first] = UInt32(truncatingIfNeeded: b + 1)
            places[second] = UInt32(truncatingIfNeeded: a + 1)
        }
        heap.swapAt(a, b)
    }

    // MARK: The table

    @inlinable
    func hash(_ key: Key) -> UInt32 { UInt32(truncatingIfNeeded: key.hashValue) }

    /// The place of `key` in the heap, or −1.
    @inlinable
    func place(of key: Key, _ hash: UInt32) -> Int {
        guard !places.isEmpty else {
            var position = 0
            while position < heap.count {
                if heap[position].hash == hash, heap[position].key == key { return position }
                position += 1
            }
            return -1
        }
        let mask = places.count - 1
        var slot = Int(hash) & mask
        while places[slot] != 0 {
            let position = Int(places[slot]) - 1
            if heap[position].hash == hash, heap[position].key == key { return position }
            slot = (slot + 1) & mask
        }
        return -1
    }

    /// The slot that holds `position`, whose entry has this hash.
    @inlinable
    func slot(of position: Int, _ hash: UInt32) -> Int {
        let mask = places.count - 1
        let wanted = UInt32(truncatingIfNeeded: position + 1)
        var slot = Int(hash) & mask
        while places[slot] != wanted { slot = (slot + 1) & mask }
        return slot
    }

    @inlinable
    func freeSlot(_ hash: UInt32) -> Int {
        let mask = places.count - 1
        var slot = Int(hash) & mask
        while places[slot] != 0 { slot = (slot + 1) & mask }
        return slot
    }

    /// Frees `slot`, and moves back entries that were displaced beyond it.
    @inlinable
    mutating func clear(_ slot: Int) {
        let mask = places.count - 1
        var hole = slot
        var next = (slot + 1) & mask
        while places[next] != 0 {
            let home = Int(heap[Int(places[next]) - 1].hash) & mask
            if (next &- home) & mask >= (next &- hole) & mask {
                places[hole] = places[next]
                hole = next
            }
            next = (next + 1) & mask
        }
        places[hole] = 0
    }

    /// Rebuilds the table, as large as the heap needs.
    @inlinable
    mutating func index() {
        guard heap.count > Self.scannedMax else {
            places = []
            return
        }
        var size = 32
        while size * 3 < heap.count * 5 { size *= 2 }
        places = [UInt32](repeating: 0, count: size)
        for position in heap.indices {
            places[freeSlot(heap[position].hash)] = UInt32(truncatingIfNeeded: position + 1)
        }
    }
}
