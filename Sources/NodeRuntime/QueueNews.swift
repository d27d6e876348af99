import Wire

/// What a client was told of the queue that its task waits in: decides whether a report says something new.
public struct QueueNews: Sendable {
    private var told: (place: UInt32, seconds: UInt32)?

    public init() {}

    /// Whether the place is another one, or the wait differs by a tenth and a second; then it counts as told. A report of
    /// another phase says nothing of a queue.
    public mutating func isNews(_ progress: Progress) -> Bool {
        guard progress.phase == .queued else {
            told = nil
            return false
        }
        let seconds = progress.secondsLeft
        if let told, told.place == progress.place {
            let change = max(seconds, told.seconds) - min(seconds, told.seconds)
            if change < max(1, told.seconds / 10) { return false }
        }
        told = (progress.place, seconds)
        return true
    }
}

extension Progress {
    /// Of a queue's: rounded up; 0: unknown.
    public var secondsLeft: UInt32 { tokens / 1_000 + (tokens % 1_000 > 0 ? 1 : 0) }

    /// In words: `queued, place 3, about 12 s`; nil: it doesn't wait for a slot.
    public var queueInWords: String? {
        guard phase == .queued else { return nil }
        let place = place > 0 ? ", place \(place)" : ""
        return "queued" + place + (tokens > 0 ? ", about \(secondsLeft) s" : "")
    }
}
