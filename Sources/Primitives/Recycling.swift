// A reused buffer keeps what it usually needs and gives back what a burst took: an idle node stays small, and
// a busy one allocates nothing.

extension Array {
    /// Appends. A full array grows by an eighth, at least by `room`, instead of doubling: for arrays that
    /// grow rarely and exist in thousands.
    @inlinable
    public mutating func appendSparingly(_ element: Element, room: Int = 8) {
        if count == capacity { reserveCapacity(count + Swift.max(room, count / 8)) }
        append(element)
    }

    /// Removes the elements. Keeps the memory if at least a quarter of it was used this time, or if it is
    /// small.
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
    /// Frees its memory when it is empty and its capacity is more than a few entries.
    @inlinable
    public mutating func releaseIfEmpty() {
        if isEmpty, capacity > 3 { self = [:] }
    }
}
