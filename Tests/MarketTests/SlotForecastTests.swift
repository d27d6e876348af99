import Primitives
import Testing

@testable import Market

@Suite struct SlotForecastTests {
    private static let now = MonotonicTime.zero + .seconds(100)

    private struct Market {
        var queue = SlotQueue(MarketParameters())
        var slots = 2
        var strangerSlots = 1
        var busy: [(until: MonotonicTime, isStranger: Bool)] = []
        var waiting: [SlotForecast.Place] = []

        /// A task that came `age` ago, uses a slot for `uses`, and leaves after `patience`.
        mutating func wait(
            _ rank: SlotQueue.Rank, age: Interval, uses: Interval, patience: Interval = .minutes(1)
        ) {
            waiting.append((queue.ticket(rank, now + (.zero - age)), uses, now + patience))
            waiting.sort { $0.ticket < $1.ticket }
        }

        var forecast: SlotForecast {
            SlotForecast(
                slots: slots, strangerSlots: strangerSlots, busy: busy, waiting: waiting,
                strangersDelay: .seconds(5), anyFree: now, strangersFree: now, now)
        }

        /// The start of each place, by a queue that moves on by a millisecond at a time.
        func starts() -> [SlotQueue.Ticket: MonotonicTime] {
            var (running, left, starts) = (busy, waiting, [SlotQueue.Ticket: MonotonicTime]())
            var time = now
            while !left.isEmpty, time < now + .minutes(2) {
                running.removeAll { $0.until <= time }
                left.removeAll { $0.deadlineAt <= time }
                while running.count < slots,
                    let index = left.firstIndex(where: { place in
                        place.ticket.rank != .stranger || running.count(where: \.isStranger) < strangerSlots
                    })
                {
                    let place = left.remove(at: index)
                    starts[place.ticket] = time
                    running.append(
                        (min(time + place.uses, place.deadlineAt), place.ticket.rank == .stranger))
                }
                time = time + .milliseconds(1)
            }
            return starts
        }
    }

    @Test(arguments: 0..<100) func eachPlaceGetsItsSlotWhenTheQueueComesToIt(_ seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var market = Market()
        market.slots = 1 + random.below(4)
        market.strangerSlots = random.below(market.slots + 1)
        for _ in 0..<random.below(market.slots + 2) {
            let until = Self.now + .milliseconds(Int64(random.below(50)))
            market.busy.append((until, random.below(2) == 0))
        }
        for _ in 0..<random.below(40) {
            let ranks: [SlotQueue.Rank] = [.own, .known, .known, .stranger, .stranger, .stranger]
            market.wait(
                ranks[random.below(ranks.count)], age: .milliseconds(Int64(random.below(10_000))),
                uses: .milliseconds(Int64(1 + random.below(100))),
                patience: .milliseconds(Int64(1 + random.below(2_000))))
        }
        let starts = market.starts()
        #expect(market.forecast.starts.filter { starts[$0.key] != nil } == starts)
    }

    @Test func strangersThatKeepTheirShareOfTheSlotsDelayThoseThatAreKnown() {
        var market = Market()
        for _ in 0..<10 { market.wait(.stranger, age: .seconds(20), uses: .seconds(1)) }
        for _ in 0..<4 { market.wait(.known, age: .zero, uses: .seconds(1)) }
        // One of the two slots is the strangers' for ten seconds.
        #expect(market.forecast.next(.known) == Self.now + .seconds(4))
        #expect(market.forecast.next(.stranger) == Self.now + .seconds(10))
    }

    @Test func aStrangersTurnComesAfterThoseThatAreLikelyToOvertakeIt() {
        var market = Market()
        for _ in 0..<20 { market.wait(.known, age: .seconds(1), uses: .seconds(1)) }
        // Twenty came in the last five seconds, and as many will in the next.
        #expect(market.forecast.next(.known) == Self.now + .seconds(10))
        #expect(market.forecast.next(.stranger) == Self.now + .seconds(20))
    }
}
