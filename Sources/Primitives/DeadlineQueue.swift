import HeapModule

/// Deadlines by key with lazy deletion: a machine asks for the earliest and is handed what is due; nothing ever
/// scans a table. A key has one live deadline; setting it again replaces the old one, which is skipped when it
/// comes up. Stale entries never outnumber the live ones by more than `slack`: then the heap is rebuilt.
///
/// Inlinable, like all generic code of this target: not specialised, each call looks up metadata of the heap and of the
/// dictionary, and every event ends with six of them.
public struct DeadlineQueue<Key: Hashable & Sendable>: Sendable {
    @usableFromInline
    struct Entry: Comparable, Sendable {
        @usableFromInline var time: MonotonicTime
        @usableFromInline var sequence: UInt64
        @usableFromInline var key: Key

        @inlinable
        init(time: MonotonicTime, sequence: UInt64, key: Key) {
            self.time = time
            self.sequence = sequence
            self.key = key
        }

        @inlinable
        static func < (a: Entry, b: Entry) -> Bool { (a.time, a.sequence) < (b.time, b.sequence) }
        @inlinable
        static func == (a: Entry, b: Entry) -> Bool { a.time == b.time && a.sequence == b.sequence }
    }

    @inlinable static var slack: Int { 64 }
    @usableFromInline var heap = Heap<Entry>()
    @usableFromInline var live: [Key: UInt64] = [:]
    @usableFromInline var sequence: UInt64 = 0

    @inlinable
    public init() {}

    @inlinable
    public var count: Int { live.count }

    /// Sets or moves the deadline of `key`.
    @inlinable
    public mutating func set(_ key: Key, at time: MonotonicTime) {
        sequence += 1
        live[key] = sequence
        heap.insert(Entry(time: time, sequence: sequence, key: key))
        if heap.count > 2 * live.count + Self.slack { rebuild() }
    }

    @inlinable
    public mutating func cancel(_ key: Key) { live[key] = nil }

    /// The earliest live deadline, or `.never`.
    @inlinable
    public mutating func next() -> MonotonicTime {
        while let first = heap.min {
            if live[first.key] == first.sequence { return first.time }
            heap.removeMin()
        }
        return .never
    }

    /// Removes and returns one key whose deadline is at or before `now`, the earliest first.
    @inlinable
    public mutating func popDue(_ now: MonotonicTime) -> Key? {
        guard next() <= now, let first = heap.popMin() else { return nil }
        live[first.key] = nil
        return first.key
    }

    @inlinable
    mutating func rebuild() {
        heap = Heap(heap.unordered.filter { live[$0.key] == $0.sequence })
    }
}
