import DequeModule

/// Values by key, at most `capacity` of them: the key that came first leaves first. Never iterated.
struct RecentTable<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private struct Slot: Sendable {
        var value: Value
        var stamp: UInt64
        mutating func apply(_ body: (inout Value) -> Void) { body(&value) }
    }
    private let capacity: Int
    private var slots: [Key: Slot] = [:]
    /// In order of insertion, with entries of removed keys until they come up.
    private var order = Deque<(key: Key, stamp: UInt64)>()
    private var stamp: UInt64 = 0

    init(capacity: Int) { self.capacity = max(1, capacity) }

    var count: Int { slots.count }

    subscript(key: Key) -> Value? { slots[key]?.value }

    /// The key that came first and its value.
    var oldest: (key: Key, value: Value)? {
        mutating get {
            while let first = order.first {
                if let slot = slots[first.key], slot.stamp == first.stamp { return (first.key, slot.value) }
                order.removeFirst()
            }
            return nil
        }
    }

    /// Changes the value of `key`; false when there is none.
    @discardableResult
    mutating func change(_ key: Key, _ body: (inout Value) -> Void) -> Bool {
        !slots.isEmpty && slots[key]?.apply(body) != nil
    }

    mutating func insert(_ key: Key, _ value: Value) {
        if slots[key] != nil {
            change(key) { $0 = value }
            return
        }
        while slots.count >= capacity, let first = oldest { remove(first.key) }
        stamp &+= 1
        slots[key] = Slot(value: value, stamp: stamp)
        order.append((key, stamp))
        if order.count > 2 * capacity + 64 {
            order = Deque(order.filter { slots[$0.key]?.stamp == $0.stamp })
        }
    }

    @discardableResult
    mutating func remove(_ key: Key) -> Value? { slots.removeValue(forKey: key)?.value }
}
