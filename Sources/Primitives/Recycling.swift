// A buffer that is used over and over keeps what it needs most of the time and gives back what a burst took: a node at
// rest is small, and a busy one allocates nothing.

extension Array {
    /// Appends; a full array grows by an eighth, at least by `room`, in place of doubling: for what grows seldom and is
    /// there in thousands.
    @inlinable
    public mutating func appendSparingly(_ element: Element, room: Int = 8) {
        if count == capacity { reserveCapacity(count + Swift.max(room, count / 8)) }
        append(element)
    }

    /// Forgets the elements; the memory stays if this time a quarter of it was used, or it is small.
    @inlinable
    public mutating func recycle() {
        if count * 4 >= capacity || capacity * MemoryLayout<Element>.stride <= 512 {
            removeAll(keepingCapacity: true)
        } else {
            self = []
        }
    }
}

extension Dictionary {
    /// Gives its memory back when it is empty and has more than that of a few entries.
    @inlinable
    public mutating func releaseIfEmpty() {
        if isEmpty, capacity > 3 { self = [:] }
    }
}
