import OpenAIFormat
import Primitives
import TestSupport
import Testing

@testable import Inference

private func at(_ milliseconds: Int64) -> MonotonicTime { .zero + .milliseconds(milliseconds) }

@Suite struct PacedQueueTests {
    private struct Model: ModelTest {
        enum Operation {
            case append(tokens: Int, bytes: Int), complex(tokens: Int, bytes: Int), finish, pop, pass(
                Interval)
        }
        struct Piece: Equatable {
            var name: String
            var tokens: Int
            var bytes: Int
        }
        var queue: PacedQueue
        var plain: [Piece] = []
        var now: MonotonicTime
        /// When the next token may go.
        var due: MonotonicTime
        var number: UInt8 = 0
        let perToken: Interval

        init(_ random: inout SeededRandom) {
            let tokensPerSecond = [0, 0.5, 40, 1_000, 2.5e9][random.below(5)]
            now = at(Int64(random.below(1_000)))
            perToken = Interval(nanoseconds: tokensPerSecond > 0 ? Int64(1e9 / tokensPerSecond) : 0)
            queue = PacedQueue(tokensPerSecond: tokensPerSecond, start: now)
            due = now + perToken
        }

        func draw(_ random: inout SeededRandom) -> Operation {
            switch random.below(20) {
            case 0..<8: .append(tokens: random.below(4), bytes: random.below(30))
            case 8:
                .complex(
                    tokens: random.below(3), bytes: random.chance(1, in: 9) ? 200_000 : random.below(300))
            case 9: .finish
            case 10..<17: .pop
            default: .pass(random.interval(.zero, perToken * (random.chance(1, in: 6) ? 100 : 2)))
            }
        }

        mutating func apply(_ operation: Operation) throws {
            switch operation {
            case .append(let tokens, let bytes):
                queue.append(.text(text(bytes), tokens: tokens))
                plain.append(Piece(name: "text \(text(bytes).first ?? 0)", tokens: tokens, bytes: bytes))
                number &+= 1
            case .complex(let tokens, let bytes):
                queue.append(.complex(text(bytes), tokens: tokens))
                plain.append(Piece(name: "complex \(text(bytes).first ?? 0)", tokens: tokens, bytes: bytes))
                number &+= 1
            case .finish:
                queue.append(.finish(JobFinish(reason: "stop", usage: BackendUsage())))
                plain.append(Piece(name: "finish", tokens: 0, bytes: 0))
            case .pop:
                // All that is due, so that long queues are emptied, too.
                while true {
                    let expected = nextDue <= now ? plain.removeFirst() : nil
                    try same(queue.pop(now: now).map(Self.describe), expected, "popped")
                    guard let expected else { break }
                    guard expected.tokens > 0, perToken > .zero else { continue }
                    // A stream that is behind catches up for 50 ms, no more.
                    due = max(due, .zero + max(.zero, now - .zero - .milliseconds(50)))
                    due = due + perToken * Int64(expected.tokens)
                }
            case .pass(let interval): now = now + interval
            }
            let (tokens, bytes) = plain.reduce((0, 0)) { ($0.0 + $1.tokens, $0.1 + $1.bytes) }
            try same(queue.tokens, tokens, "tokens")
            try same(queue.bytes, bytes, "bytes")
            try same(queue.isEmpty, plain.isEmpty, "is empty")
            try same(queue.nextDue, nextDue, "next due")
            try same(queue.isOverBound, tokens > 256 || bytes > 256 * 1_024, "is over its bound")
            try same(queue.hasRoom, tokens <= 128 && bytes <= 128 * 1_024, "has room")
        }

        private var nextDue: MonotonicTime {
            guard let first = plain.first else { return .never }
            return first.name == "finish" ? .zero : due
        }

        private func text(_ count: Int) -> [UInt8] { [UInt8](repeating: number, count: count) }

        private static func describe(_ piece: PacedQueue.Piece) -> Piece {
            switch piece {
            case .text(let text, let tokens):
                Piece(name: "text \(text.first ?? 0)", tokens: tokens, bytes: text.count)
            case .complex(let text, let tokens):
                Piece(name: "complex \(text.first ?? 0)", tokens: tokens, bytes: text.count)
            case .finish: Piece(name: "finish", tokens: 0, bytes: 0)
            }
        }
    }

    @Test(arguments: [1, 2, 3, 4, 5, 6, 7, 8] as [UInt64])
    func piecesLeaveInOrderEachWhenItsTokensAreDue(_ seed: UInt64) throws {
        try check(Model.self, seed: seed, steps: 1_000)
    }

    @Test func piecesLeaveAtTheRateAndAPauseEarnsNoBurst() {
        var queue = PacedQueue(tokensPerSecond: 100, start: at(0))
        for _ in 0..<30 { queue.append(.text([0x61], tokens: 1)) }
        #expect(queue.pop(now: at(9)) == nil)
        #expect(queue.pop(now: at(10)) != nil)
        #expect(queue.nextDue == at(20))
        var left = 0
        while queue.pop(now: at(1_000)) != nil { left += 1 }
        #expect(left == 6, "50 ms of catching up, and the one that is due")
    }

    @Test func aPieceOfManyTokensTakesTheirTime() {
        var queue = PacedQueue(tokensPerSecond: 100, start: at(0))
        queue.append(.text([0x61], tokens: 5))
        queue.append(.text([0x62], tokens: 1))
        #expect(queue.pop(now: at(10)) != nil)
        #expect(queue.nextDue == at(60))
    }

    @Test func withoutASpeedAllIsDueAtOnceAndTheBoundIsKnown() {
        var queue = PacedQueue(tokensPerSecond: 0, start: at(5))
        for _ in 0...PacedQueue.tokensMax { queue.append(.text([0x61], tokens: 1)) }
        #expect(queue.isOverBound && !queue.hasRoom)
        while queue.pop(now: at(5)) != nil {}
        #expect(queue.isEmpty && queue.hasRoom && queue.nextDue == .never)
    }

    @Test func theEndDoesntWait() {
        var queue = PacedQueue(tokensPerSecond: 1, start: at(0))
        queue.append(.finish(JobFinish(reason: "stop", usage: BackendUsage())))
        #expect(queue.pop(now: at(0)) != nil)
    }
}
