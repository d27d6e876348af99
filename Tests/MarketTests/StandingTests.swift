import Primitives
import Testing
import Wire

@testable import Market

/// What a seller gets at a time: one task, and one more for each that it finished, as long as others could do the rest.
@Suite struct StandingTests {
    /// A tenth of everybody's price.
    static func liar(_ number: UInt64) -> Seller {
        Seller(200 + number, "liar \(number)", price: price(2, 16))
    }

    /// Runs a task to its end.
    func finish(_ buyer: inout Buyer, _ sellers: [Seller], channel: ChannelID) {
        let (task, winner) = buyer.stream(sellers, channel: channel)
        buyer.delta(task, at: 0, "Hello", from: winner, on: channel)
        buyer.finish(
            task, 1, Finish(reason: "stop", promptTokens: 8, completionTokens: 1), from: winner, on: channel)
        _ = buyer.take()
    }

    /// Starts tasks one after another without ending any, and returns their winners' names.
    func winners(_ buyer: inout Buyer, _ count: Int, _ sellers: [Seller], from first: UInt64 = 100)
        -> [String]
    {
        (0..<count).map {
            buyer.stream(sellers, channel: ChannelID(rawValue: first + UInt64($0))).1.offer.name
        }
    }

    @Test func aFreshKeyHoweverCheapHasOneTaskAtATimeWhileASellerThatFinishedOneBids() {
        var buyer = Buyer()
        for number in 0..<5 { finish(&buyer, [ada], channel: ChannelID(rawValue: UInt64(1 + number))) }
        #expect(winners(&buyer, 4, [Self.liar(1), ada]) == ["liar 1", "ada", "ada", "ada"])
        let transcript = buyer.auctioneer.running.last.flatMap { buyer.auctioneer.transcript($0) }
        #expect(transcript?.bids.map(\.outcome) == [.won, .passedOver])
    }

    @Test func freshKeysTogetherHaveAnEighthOfWhatRuns() {
        var buyer = Buyer()
        for number in 0..<40 { finish(&buyer, [ada], channel: ChannelID(rawValue: UInt64(1 + number))) }
        let liars = (0..<6).map { Self.liar(UInt64($0)) }
        let names = winners(&buyer, 24, [ada] + liars)
        #expect(names.count { $0 == "ada" } == 22 && names[0] != "ada")
    }

    @Test func theCheapestWinsWhereNobodyFinishedATaskYetOrAllThatDidAreBusy() {
        var buyer = Buyer()
        #expect(winners(&buyer, 3, [ada, Self.liar(1)]) == ["liar 1", "liar 1", "liar 1"])
        var other = Buyer()
        finish(&other, [ada], channel: 1)
        #expect(winners(&other, 2, [ada, Self.liar(1)]) == ["liar 1", "ada"])
        #expect(winners(&other, 2, [Self.liar(1)], from: 300) == ["liar 1", "liar 1"])
    }

    @Test func anAuctionWaitsForASellerThatFinishedTasksWhereTheOtherHasAllItGets() {
        var buyer = Buyer()
        for number in 0..<5 { finish(&buyer, [ada], channel: ChannelID(rawValue: UInt64(1 + number))) }
        let liar = Self.liar(1)
        #expect(winners(&buyer, 1, [ada, liar]) == ["liar 1"])
        let task = buyer.submit()
        buyer.found(task, [ada, liar])
        let calls = buyer.take().calls
        for (token, call, key) in calls where key == liar.key {
            buyer.answer(token, liar.bid(call, buyer: buyer.key), from: liar)
        }
        #expect(buyer.actions.awards.isEmpty)
        for (token, call, key) in calls where key == ada.key {
            buyer.answer(token, ada.bid(call, buyer: buyer.key), from: ada)
        }
        #expect(buyer.actions.awards.map(\.2) == [ada.key])
    }

    @Test func aSellersTasksAtATimeGrowWithThoseItFinishedAndBeginAnewWhenItLosesOne() {
        var table = SellerTable(MarketParameters())
        let now = MonotonicTime.zero
        func room(_ table: inout SellerTable) -> Int {
            var count = 0
            while [.room, .newcomer].contains(table.standing(ada.key, now)) {
                table.awarded(ada.key, wasMet: true, now)
                count += 1
            }
            for _ in 0..<count { table.ended(ada.key, wasMet: true) }
            return count
        }
        #expect(room(&table) == 1)
        for _ in 0..<7 { table.finished(ada.key, wasMet: true, now) }
        #expect(room(&table) == 8)
        table.lost(ada.key, wasMet: true, now)
        #expect(room(&table) == 1 && table.hasFinished(ada.key))
        table.finished(ada.key, wasMet: true, now)
        #expect(room(&table) == 2)
    }

    @Test func aNewcomerWinsByItsScoreAndNeverBecauseOthersAreFull() {
        func winner(_ bids: (Standing, UInt64)...) -> UInt64? {
            Contender.winner(
                of: bids.enumerated().map {
                    Contender(
                        index: $0, rank: .max, standing: $1.0, score: $1.1, completion: .zero, arrival: $0)
                })?.score
        }
        #expect(winner((.full, 5), (.newcomer, 6), (.unproven, 1)) == 5)
        #expect(winner((.full, 5), (.newcomer, 4), (.unproven, 1)) == 4)
        #expect(winner((.full, 5), (.room, 9), (.newcomer, 7)) == 7)
        #expect(winner((.full, 5), (.room, 6), (.newcomer, 7)) == 6)
        #expect(winner((.newcomer, 7), (.unproven, 6)) == 6, "there is no other to go by")
        #expect(winner() == nil)
    }

    @Test func afterALossSellersThatNeverFinishedATaskGetNoneForAWhileAndLongerWithEach() {
        let parameters = MarketParameters()
        var newcomers = Newcomers(parameters)
        let at = { (seconds: Int64) in MonotonicTime.zero + .seconds(seconds) }
        #expect(newcomers.haveRoom(at(0)))
        newcomers.lost(at(0))
        newcomers.lost(at(1))
        #expect(!newcomers.haveRoom(at(9)) && newcomers.haveRoom(at(10)), "losses of one burst are one event")
        newcomers.lost(at(10))
        #expect(!newcomers.haveRoom(at(29)) && newcomers.haveRoom(at(30)))
        for loss in 0..<100 { newcomers.lost(at(1_000 * Int64(loss + 1))) }
        #expect(!newcomers.haveRoom(at(100_599)) && newcomers.haveRoom(at(100_600)))
        newcomers.finished()
        newcomers.lost(at(200_000))
        #expect(newcomers.haveRoom(at(200_010)))
    }

    @Test func aRotatingKeyCostsOneTaskTheTimeOfAStallAndThenNoneForAWhile() {
        var buyer = Buyer()
        for number in 0..<5 { finish(&buyer, [ada], channel: ChannelID(rawValue: UInt64(1 + number))) }
        let (task, winner) = buyer.stream([ada, Self.liar(1)], channel: 50)
        #expect(winner.offer.name == "liar 1")
        let start = buyer.milliseconds
        while buyer.actions.needs == 0, buyer.milliseconds < start + 60_000 {
            let at = buyer.milliseconds + 500
            buyer.milliseconds = at
            buyer.frame(task, 1, .progress(Progress(phase: .loading, tokens: 0)), from: winner, on: 50)
            buyer.advance(to: at)
        }
        #expect(
            (1_500...2_500).contains(buyer.milliseconds - start), "its words are worth nothing beside ada")
        _ = buyer.take()
        #expect(winners(&buyer, 2, [ada, Self.liar(2)]) == ["ada", "ada"])
        buyer.advance(to: buyer.milliseconds + 10_000)
        _ = buyer.take()
        #expect(winners(&buyer, 2, [ada, Self.liar(3)], from: 200) == ["liar 3", "ada"])
    }
}
