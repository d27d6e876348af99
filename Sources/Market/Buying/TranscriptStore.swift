import DequeModule
import Primitives

/// Transcripts of ended tasks: bounded in number and age.
struct TranscriptStore: Sendable {
    private let capacity: Int
    private let age: Interval
    private var order = Deque<(at: MonotonicTime, task: TaskID)>()
    private var transcripts: [TaskID: TaskTranscript] = [:]

    init(capacity: Int, age: Interval) {
        self.capacity = capacity
        self.age = age
    }

    var isEmpty: Bool { order.isEmpty }
    subscript(task: TaskID) -> TaskTranscript? { transcripts[task] }

    mutating func insert(_ transcript: TaskTranscript, at now: MonotonicTime) {
        expire(now)
        while order.count >= capacity, let first = order.popFirst() { transcripts[first.task] = nil }
        order.append((now, transcript.task))
        transcripts[transcript.task] = transcript
    }

    mutating func expire(_ now: MonotonicTime) {
        while let first = order.first, first.at + age <= now {
            order.removeFirst()
            transcripts[first.task] = nil
        }
    }

    /// Latest first.
    func latest(_ count: Int) -> [TaskTranscript] {
        order.suffix(max(0, count)).reversed().compactMap { transcripts[$0.task] }
    }
}
