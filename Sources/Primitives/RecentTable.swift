import DequeModule

/// Values by key, at most `capacity` of them: the key inserted first is evicted first. Never iterated.
///
/// Inlinable, like all generic code of this target: unspecialised, each call would look up metadata.
public struct RecentTable<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    @usableFromInline
    struct Slot: Sendable {
        @usableFromInline var value: Value
        @usableFromInline var stamp: UInt64

        @inlinable
        init(value: Value, stamp: UInt64) {
            self.value = value
            self.stamp = stamp
        }

        @inlinable
        mutating func apply(_ body: (inout Value) -> Void) { body(&value) }
    }

    @usableFromInline let capacity: Int
    @usableFromInline var slots: [Key: Slot] = [:]
    /// In order of insertion; entries of removed keys stay until they come up.
    @usableFromInline var order = Deque<(key: Key, stamp: UInt64)>()
    @usableFromInline var stamp: UInt64 = 0

    @inlinable
    public init(capacity: Int) { self.capacity = max(1, capacity) }

    @inlinable
    public var count: Int { slots.count }

    @inlinable
    public subscript(key: Key) -> Value? { slots[key]?.value }

    /// The key that was inserted first, and its value.
    @inlinable
    public var oldest: (key: Key, value: Value)? {
        mutating get {
            while let first = order.first {
                if let slot = slots[first.key], slot.stamp == first.stamp { return (first.key, slot.value) }
                order.removeFirst()
            }
            return nil
        }
    }

    /// Changes the value of `key`; returns false when there is none.
    @inlinable
    @discardableResult
    public mutating func change(_ key: Key, _ body: (inout Value) -> Void) -> Bool {
        !slots.isEmpty && slots[key]?.apply(body) != nil
    }

    @inlinable
    public mutating func insert(_ key: Key, _ value: Value) {
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

    @inlinable
    @discardableResult
    public mutating func remove(_ key: Key) -> Value? { slots.removeValue(forKey: key)?.value }
}
