import Primitives

/// Pieces of an answer on their way to the client, released at no more than `tokensPerSecond`.
///
/// Operators throttle with it, and it makes small models slow enough to watch. The first token is paced too:
/// it comes one interval after the start. After a pause there is no burst beyond `catchUp`.
struct PacedQueue {
    enum Piece {
        case text([UInt8], tokens: Int)
        case complex([UInt8], tokens: Int)
        case finish(JobFinish)
    }
    /// Waiting tokens and bytes above which the server is paused: seconds of any paced stream.
    static let tokensMax = 256
    static let bytesMax = 256 * 1024
    /// How far behind schedule a stream may be and still catch up: timers are late by milliseconds.
    static let catchUp = Interval.milliseconds(50)

    private let tokenInterval: Interval
    private var due: MonotonicTime
    private var pieces: [Piece] = []
    private var next = 0
    private(set) var tokens = 0
    private(set) var bytes = 0

    /// A `tokensPerSecond` of 0 or less means no pacing.
    init(tokensPerSecond: Double, start: MonotonicTime) {
        let seconds = tokensPerSecond > 0 ? min(1 / tokensPerSecond, 3_600) : 0
        tokenInterval = Interval(nanoseconds: Int64(seconds * 1e9))
        due = start + tokenInterval
    }

    var isEmpty: Bool { next == pieces.count }
    var isOverBound: Bool { tokens > Self.tokensMax || bytes > Self.bytesMax }
    /// Below half the bound the server may resume.
    var hasRoom: Bool { tokens <= Self.tokensMax / 2 && bytes <= Self.bytesMax / 2 }

    /// When the next piece is due; `never` if there is none.
    var nextDue: MonotonicTime {
        guard next < pieces.count else { return .never }
        if case .finish = pieces[next] { return .zero }
        return due
    }

    mutating func append(_ piece: Piece) {
        pieces.append(piece)
        let (count, size) = Self.weight(piece)
        tokens += count
        bytes += size
    }

    /// Removes and returns the next piece, if it is due.
    mutating func pop(now: MonotonicTime) -> Piece? {
        guard nextDue <= now else { return nil }
        let piece = pieces[next]
        next += 1
        if next == pieces.count {
            pieces.removeAll(keepingCapacity: true)
            next = 0
        } else if next > 64, next * 2 > pieces.count {
            pieces.removeFirst(next)
            next = 0
        }
        let (count, size) = Self.weight(piece)
        tokens -= count
        bytes -= size
        if count > 0, tokenInterval > .zero {
            let earliest = MonotonicTime(
                nanoseconds: max(0, (now - MonotonicTime.zero - Self.catchUp).nanoseconds))
            due = max(due, earliest) + tokenInterval * Int64(count)
        }
        return piece
    }

    private static func weight(_ piece: Piece) -> (tokens: Int, bytes: Int) {
        switch piece {
        case .text(let text, let tokens): (tokens, text.count)
        case .complex(let choices, let tokens): (tokens, choices.count)
        case .finish: (0, 0)
        }
    }
}
