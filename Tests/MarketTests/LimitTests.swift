import Primitives
import Testing
import Wire

@testable import Market

/// The client's limits and the bill, by the buyer's own count.
@Suite struct LimitTests {
    func delta(_ text: String, tokens: UInt32, extra: String = "", at offset: UInt64 = 0) -> Delta {
        Delta(offset: offset, text: Array(text.utf8), tokens: tokens, extra: Array(extra.utf8))
    }

    // MARK: Counting

    @Test func tokensAreAtMostTheBytesAndAtLeastASixteenthOfThem() {
        var greedy = AnswerCount(.chat)
        greedy.add(delta("ab", tokens: .max))
        #expect(greedy.tokens == 2)
        greedy.add(delta("cd", tokens: 0))
        #expect(greedy.tokens == 4, "the total counts")
        var modest = AnswerCount(.chat)
        modest.add(delta(String(repeating: "x", count: 1_632), tokens: 1))
        #expect(modest.tokens == 100)
        var token = AnswerCount(.chat)
        token.add(delta("internationalization", tokens: 1))
        #expect(token.tokens == 1, "a long word may be one token")
        var shaped = AnswerCount(.chat)
        shaped.add(delta("", tokens: 1, extra: choice("w0 ", pad: 4_000)))
        #expect(shaped.tokens == 1, "log-probabilities of one token are long")
        shaped.add(delta("", tokens: 0, extra: choice("w1 ", pad: 40_000)))
        #expect(shaped.tokens == 6, "but not without end, and no token is shorter than a byte")
        var embedding = AnswerCount(.embedding)
        embedding.add(delta(String(repeating: "1", count: 12_000), tokens: 0))
        #expect(embedding.tokens == 0)
    }

    private func choice(_ content: String, pad: Int) -> String {
        #"[{"index":0,"delta":{"content":"\#(content)"},"pad":"\#(String(repeating: "x", count: pad))"}]"#
    }

    @Test func tokensAreAtMostTheBytesThatExtraSaysForBuyerAndSeller() throws {
        let junk = choice("w0 ", pad: 11_000) + String(repeating: " ", count: 1_000)
        var silent = delta("", tokens: 40, extra: String(decoding: noWords, as: UTF8.self))
        var buyer = Buyer()
        let (task, _) = buyer.stream([ada])
        buyer.frame(task, 1, .delta(silent), from: ada, on: 5)
        buyer.frame(
            task, 1, .delta(delta("", tokens: 11_000, extra: junk, at: UInt64(noWords.count))), from: ada,
            on: 5)
        silent.offset = UInt64(noWords.count + junk.utf8.count)
        buyer.frame(task, 1, .delta(silent), from: ada, on: 5)
        let finish = Finish(reason: "stop", promptTokens: 8, completionTokens: 11_000)
        buyer.finish(task, 1, finish, from: ada, on: 5)
        #expect(buyer.actions.summaries.map(\.completionTokens) == [3])
        #expect(buyer.actions.receipts.last?.completionTokens == 3)
        var seller = Work(.chat)
        for sent in [silent, delta("", tokens: 11_000, extra: junk), silent] { seller.add(sent) }
        seller.add(finish)
        #expect(seller.tokens == 3)
    }

    @Test func whatCannotBelongToTheLimitIsCutBetweenCharacters() {
        var count = AnswerCount(.chat)
        var part = delta(String(repeating: "ü", count: 100), tokens: 1)
        let isCut = count.cut(&part, limit: 1)
        #expect(isCut && part.text.count == 48 && String(validating: part.text, as: UTF8.self) != nil)
        count.add(part)
        var more = delta("aü", tokens: 1)
        let isCutFar = count.cut(&more, limit: 100)
        #expect(!isCutFar && more.text.count == 3)
        let isCutAgain = count.cut(&more, limit: 1)
        #expect(isCutAgain && more.text.isEmpty)
    }

    // MARK: Ending

    @Test(arguments: [9, 0, 1] as [UInt32])
    func aWorkerThatIgnoresTheTokenLimitIsStoppedAtItWhateverItClaims(_ claimed: UInt32) {
        var buyer = Buyer()
        let (task, _) = buyer.stream([ada], request: request { $0.tokensOutMax = 10 })
        var offset: UInt64 = 0
        while buyer.actions.summaries.isEmpty, offset < 100_000 {
            buyer.frame(task, 1, .delta(delta("la la la ", tokens: claimed, at: offset)), from: ada, on: 5)
            offset += 9
        }
        #expect(buyer.actions.summaries.map(\.reason) == ["length"])
        #expect(buyer.actions.text.utf8.count <= 200)
        #expect((buyer.actions.summaries.first?.completionTokens ?? .max) <= 10)
        #expect(buyer.actions.frames.contains(.cancel) && buyer.actions.freed == [5])
        #expect(buyer.actions.receipts.last?.final == true)
        #expect((buyer.actions.receipts.last?.completionTokens ?? .max) <= 10)
    }

    @Test func eachOfSeveralChoicesHasTheLimitForItself() {
        var buyer = Buyer()
        let wanted = request {
            $0.tokensOutMax = 10; $0.choices = 3; $0.resumable = false
        }
        let task = buyer.submit(wanted)
        buyer.found(task, [ada])
        #expect(buyer.actions.calls.first?.1.tokensOutMax == 10)
        _ = buyer.start(task, [ada], channel: 5)
        for part in 0..<30 {
            let extra = Delta(
                offset: UInt64(part * toolCall.count), text: [], tokens: 1, extra: toolCall)
            buyer.frame(task, 1, .delta(extra), from: ada, on: 5)
        }
        #expect(buyer.actions.summaries.isEmpty)
        buyer.finish(
            task, 1, Finish(reason: "length", promptTokens: 8, completionTokens: 30), from: ada, on: 5)
        #expect(buyer.actions.summaries.first?.completionTokens == 30)
    }

    @Test func anAnswerEndsWhereItsCostReachesTheClientsLimitAndNoMoreIsPaid() {
        var buyer = Buyer()
        // 8 × 0.20 + 64 × 2.00 = 129.6 µcr are expected.
        let (task, _) = buyer.stream([ada], request: request { $0.preferences.maxCost = 150 })
        for part in 0..<200 where buyer.actions.summaries.isEmpty {
            buyer.delta(task, at: UInt64(part) * 4, "word", from: ada, on: 5)
        }
        #expect(buyer.actions.summaries.map(\.reason) == ["length"])
        #expect(buyer.actions.summaries.first?.cost == 150 && buyer.actions.receipts.last?.cost == 150)
        #expect(buyer.actions.text.utf8.count == 75 * 4)
    }

    @Test func whatALostWorkerCostIsNoLongerThereForTheNext() throws {
        var buyer = Buyer()
        let limited = request {
            $0.preferences.maxCost = 160; $0.deadline = .minutes(1)
        }
        let (task, _) = buyer.stream([ada, cyd], request: limited)
        for part in 0..<40 { buyer.delta(task, at: UInt64(part) * 4, "word", from: ada, on: 5) }
        buyer.auctioneer.channelClosed(5, turn: &buyer.turn, out: &buyer.actions)
        buyer.wait(task, with: [ada, cyd])
        #expect(
            buyer.actions.failures.map(\.reason) == [.workerLost], "cyd's estimate is over the 80 µcr left")
    }

    @Test func withoutALimitAnAnswerIsNoLongerThanItsWorkersContext() {
        for (context, streams) in [(100, true), (100, false), (0, true)] as [(UInt32, Bool)] {
            var parameters = MarketParameters()
            parameters.answerTokensMax = 200
            var buyer = Buyer(parameters: parameters)
            let endless = Seller(41, "endless", context: context)
            let (task, _) = buyer.stream([endless], request: request { $0.streams = streams })
            for part in 0..<1_000 as Range<UInt64> where buyer.actions.summaries.isEmpty {
                buyer.delta(task, at: part * 4, "word", from: endless, on: 5)
            }
            let summary = buyer.actions.summaries.first
            #expect(summary?.reason == "length")
            #expect(summary?.completionTokens == (context == 0 ? 200 : 100))
        }
    }

    // MARK: The bill

    @Test func aBillNeverFallsBelowWhatReceiptsAcknowledgedNorRisesAboveTheBytes() {
        for (claimed, expected) in [(0, 3), (2, 3), (3, 3), (5, 5), (1_000, 12)] as [(UInt32, UInt32)] {
            var buyer = Buyer()
            let (task, _) = buyer.stream([ada])
            for part in 0..<3 { buyer.delta(task, at: UInt64(part) * 4, "word", from: ada, on: 5) }
            let finish = Finish(reason: "stop", promptTokens: 8, completionTokens: claimed)
            buyer.finish(task, 1, finish, from: ada, on: 5)
            #expect(buyer.actions.summaries.first?.completionTokens == expected, "\(claimed)")
        }
    }

    @Test func atLeastAsMuchOfThePromptIsCachedAsTheWinningBidSaid() {
        var buyer = Buyer()
        let task = buyer.submit(request { $0.tokensIn = 100 })
        buyer.found(task, [ada])
        for (token, call, _) in buyer.take().calls {
            buyer.answer(token, ada.bid(call, buyer: buyer.key) { $0.cachedTokens = 90 }, from: ada)
        }
        buyer.opened(task, 1, 5, ada)
        buyer.delta(task, at: 0, "Hello", from: ada, on: 5)
        buyer.finish(
            task, 1, Finish(reason: "stop", promptTokens: 100, completionTokens: 1), from: ada, on: 5)
        #expect(buyer.actions.summaries.first?.cachedTokens == 90)
    }

    @Test func aPromptIsAtMostTwiceOurEstimateUntilSeveralSellersAgreeOnMore() {
        var counts = PromptCounts()
        let weights = PromptCounts.Weights.model("wren-m")
        #expect(counts.most(estimate: 1_000, weights) == 2_256)
        for _ in 0..<20 { counts.learn(4_000, estimate: 1_000, weights, by: ada.key) }
        #expect(counts.most(estimate: 1_000, weights) == 2_256, "one seller isn't its own judge")
        counts.learn(1_200, estimate: 1_000, weights, by: bob.key)
        counts.learn(1_100, estimate: 1_000, weights, by: cyd.key)
        #expect(counts.most(estimate: 1_000, weights) == 1_500 + 256)
        counts.learn(1_000_000, estimate: 10, weights, by: bob.key)
        #expect(
            counts.most(estimate: 1_000, weights) == 1_500 + 256, "a short prompt says nothing of the ratio")
        #expect(counts.most(estimate: 1_000, .digest(Bytes32(1, 2, 3, 4))) == 2_256)
        #expect(counts.most(estimate: .max, weights) > 0)
    }

    @Test func whatAChatFormatAddsIsLearntFromShortPromptsOfSeveralSellers() {
        var counts = PromptCounts()
        let weights = PromptCounts.Weights.model("wren-m")
        counts.learn(276, estimate: 10, weights, by: cyd.key)
        counts.learn(31, estimate: 10, weights, by: ada.key)
        #expect(counts.most(estimate: 10, weights) == 276)
        counts.learn(44, estimate: 20, weights, by: bob.key)
        #expect(counts.most(estimate: 10, weights) == 20 + 24 + 32, "the lower median, and a margin")
        for seller in [ada, bob, cyd] { counts.learn(4_000, estimate: 10, weights, by: seller.key) }
        #expect(counts.most(estimate: 10, weights) == 276, "never more than before there were votes")
    }
}
