// What will happen, ordered by (time, sequence): two events at one moment happen in the order in which they were
// planned, so that a run depends on nothing but its seed.

import Primitives

/// Something that arrives somewhere. Plain bits: what has a body lies in a pool and is named by a number, so that
/// moving events about the heap counts no references.
enum Event: BitwiseCopyable {
    case start(host: Int32)
    case datagram(slot: Int32, length: Int32, to: Int32, from: Int32)
    case wake(host: Int32)
    /// The moment after a long gap when timers may fire: the sockets have been read.
    case caughtUp(host: Int32)
    case handOver(host: Int32, incarnation: Int32)
    /// A connection request reaches the machine; the dialler hears that it stands, or that it can't.
    case connect(stream: Int32)
    case accepted(stream: Int32)
    case connected(stream: Int32)
    case dialFailed(stream: Int32)
    /// The next thing in flight in that direction arrives.
    case stream(Int32, Direction)
    /// A backend has got further with a job.
    case backend(host: Int32, job: JobID, ticket: UInt32)
    /// What the process hears of it.
    case report(host: Int32, job: JobID, from: Int32, to: Int32)
    case submit(client: Int32)
    case read(client: Int32)
    case hangUp(client: Int32)
    case cancelDue(client: Int32)
    case fault(index: Int32)
    /// An attacker's program acts.
    case hostile(host: Int32)
    case probe(index: Int32)
    case thaw(host: Int32)
    case watch

    enum Direction: Int8 { case toAcceptor = 0, toDialler }
}

typealias EventQueue = TimedQueue<Event>

struct TimedQueue<Event: BitwiseCopyable> {
    struct Entry {
        var time: Int64
        var sequence: UInt64
        var event: Event
    }

    /// A heap with four children a node: shallower than a binary one, and the children share cache lines.
    private var heap: [Entry] = []
    private var sequence: UInt64 = 0

    var count: Int { heap.count }
    var nextTime: Int64? { heap.first?.time }

    mutating func push(_ event: Event, at time: Int64) {
        sequence += 1
        heap.append(Entry(time: time, sequence: sequence, event: event))
        heap.withUnsafeMutableBufferPointer { Self.rise($0) }
    }

    mutating func pop() -> Entry? {
        guard let first = heap.first else { return nil }
        let last = heap.removeLast()
        guard !heap.isEmpty else { return first }
        heap.withUnsafeMutableBufferPointer { Self.sink($0, last) }
        return first
    }

    private static func isBefore(_ a: Entry, _ b: Entry) -> Bool {
        a.time != b.time ? a.time < b.time : a.sequence < b.sequence
    }

    private static func rise(_ heap: UnsafeMutableBufferPointer<Entry>) {
        var index = heap.count - 1
        let entry = heap[index]
        while index > 0 {
            let parent = (index - 1) >> 2
            guard isBefore(entry, heap[parent]) else { break }
            heap[index] = heap[parent]
            index = parent
        }
        heap[index] = entry
    }

    private static func sink(_ heap: UnsafeMutableBufferPointer<Entry>, _ entry: Entry) {
        var index = 0
        while true {
            let first = index << 2 + 1
            guard first < heap.count else { break }
            var least = first
            var child = first + 1
            while child < min(first + 4, heap.count) {
                if isBefore(heap[child], heap[least]) { least = child }
                child += 1
            }
            guard isBefore(heap[least], entry) else { break }
            heap[index] = heap[least]
            index = least
        }
        heap[index] = entry
    }
}
