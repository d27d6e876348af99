import Primitives
import Testing
import Wire

@testable import Market

/// `Protocol/market.md`, What a worker says of the task: one seller's word is not enough.
@Suite struct VerdictTests {
    func failure(_ code: String, another: Bool) -> FrameBody {
        .fail(Fail(code: code, message: "boom", anotherMaySucceed: another))
    }

    func trust(_ buyer: borrowing Buyer, _ seller: Seller) -> UInt32 {
        buyer.auctioneer.trust(of: seller.key, now: buyer.now)
    }

    /// `says` comes from the first worker of the task, and the others of `sellers` are found again.
    func second(
        _ buyer: inout Buyer, _ sellers: [Seller], _ says: FrameBody, request: TaskRequest = request()
    ) -> (TaskID, first: Seller, second: Seller) {
        let (task, first) = buyer.stream(sellers, request: request)
        buyer.frame(task, 1, says, from: first, on: 5)
        buyer.found(task, sellers)
        return (task, first, buyer.start(task, sellers, channel: 6))
    }

    @Test(arguments: [
        ("invalid_request", false, Reason.invalidRequest),
        ("context_length_exceeded", false, .contextTooSmall), ("backend_error", false, .backendError),
        ("backend_error", true, .backendError), ("backend_closed_early", true, .backendError),
    ])
    func theSameFailureAtTwoEqualSellersEndsTheTaskAndNobodyIsBlamed(
        _ code: String, _ another: Bool, _ expected: Reason
    ) {
        var buyer = Buyer()
        buyer.know([ada, bob, cyd])
        let (task, first, other) = second(&buyer, [ada, cyd, bob], failure(code, another: another))
        #expect(other.key != first.key)
        buyer.frame(task, 2, failure(code, another: another), from: other, on: 6)
        // Of a context that is too small one with more could say otherwise.
        if expected == .contextTooSmall { buyer.found(task, [ada, cyd, bob]) }
        #expect(buyer.actions.failures.map(\.reason) == [expected])
        #expect(buyer.actions.failures.first?.message.contains("boom") == true)
        #expect(buyer.actions.freed.contains(6))
        #expect(trust(buyer, first) == 1_000 && trust(buyer, other) == 1_000)
        #expect(buyer.auctioneer.outstanding == (0, 0, 0))
    }

    /// Its model server's 400 is true, whoever asks it.
    @Test func aClientThatRepeatsABadRequestBringsNoHonestSellerToComeLast() {
        var buyer = Buyer()
        let sellers = [ada, cyd, bob]
        buyer.know(sellers)
        var winners: [PublicKey] = []
        for round in 0..<6 as Range<Int64> {
            buyer.advance(to: 3_000 * round)
            let says = failure("invalid_request", another: false)
            let (task, first, other) = second(&buyer, sellers, says)
            buyer.frame(task, 2, says, from: other, on: 6)
            #expect(buyer.actions.failures.map(\.reason) == [.invalidRequest])
            winners.append(first.key)
            buyer.actions = []
        }
        #expect(Set(winners).count == 1, "the best offer wins again and again")
    }

    @Test(arguments: ["invalid_request", "backend_error"])
    func whoeverIsRefutedByAnotherSellersAnswerIsBlamed(_ code: String) {
        var buyer = Buyer()
        let (task, first, other) = second(&buyer, [ada, cyd], failure(code, another: false))
        buyer.delta(task, 2, at: 0, "Hello", from: other, on: 6)
        #expect(trust(buyer, first) == 1_000, "not before the answer is there")
        buyer.finish(
            task, 2, Finish(reason: "stop", promptTokens: 8, completionTokens: 1), from: other, on: 6)
        #expect(buyer.actions.summaries.count == 1)
        #expect(trust(buyer, first) == 700 && trust(buyer, other) == 1_000)
    }

    @Test func aNewKeysAnswerCostsAProvenSellerNothing() {
        var buyer = Buyer()
        buyer.know([ada])
        buyer.know([cyd], finished: 1)
        let (task, first, other) = second(&buyer, [ada, cyd], failure("backend_error", another: true))
        #expect(first.key == ada.key)
        buyer.delta(task, 2, at: 0, " ", from: other, on: 6)
        buyer.finish(
            task, 2, Finish(reason: "stop", promptTokens: 8, completionTokens: 1), from: other, on: 6)
        #expect(trust(buyer, ada) == 1_000)
    }

    @Test(arguments: ["invalid_request", "backend_error"])
    func whereThereIsNoOtherSellerItsFailureEndsTheTaskAndItIsNotBlamed(_ code: String) {
        var buyer = Buyer()
        let (task, _) = buyer.stream([ada])
        buyer.frame(task, 1, failure(code, another: true), from: ada, on: 5)
        #expect(buyer.actions.failures.isEmpty)
        buyer.found(task, [ada])
        #expect(buyer.actions.failures.map(\.reason) == [.backendError])
        #expect(trust(buyer, ada) == 1_000)
    }

    @Test func aContextIsTooSmallWhenASellerWithAtLeastAsMuchAgrees() {
        var buyer = Buyer()
        let (wide, narrow) = (Seller(31, "wide", context: 4_096), Seller(32, "narrow", price: price(20, 150)))
        let says = failure("context_length_exceeded", another: false)
        let (task, first, other) = second(&buyer, [narrow, wide], says)
        #expect(first.key == narrow.key)
        buyer.delta(task, 2, at: 0, "Hello", from: other, on: 6)
        buyer.finish(task, 2, Finish(reason: "stop"), from: other, on: 6)
        #expect(trust(buyer, narrow) == 1_000, "the answer needed more context than it has")
    }

    @Test func failuresThatNameTheServersStateAreNoFindingsAndDoNotEndTheTask() {
        var buyer = Buyer()
        let sellers = [ada, cyd, bob]
        let (task, _, other) = second(&buyer, sellers, failure("backend_down", another: true))
        buyer.frame(task, 2, failure("backend_down", another: true), from: other, on: 6)
        buyer.found(task, sellers)
        #expect(buyer.actions.failures.isEmpty)
        _ = buyer.start(task, sellers, channel: 7)
    }

    // MARK: Nothing to say

    @Test func anEmptyFinishIsNeitherAnAnswerNorPaidAndAnotherSellerIsAsked() {
        var buyer = Buyer()
        let lie = Finish(reason: "stop", promptTokens: 100_000_000, completionTokens: 100_000_000)
        let (task, first, other) = second(&buyer, [ada, cyd], .finish(lie))
        buyer.delta(task, 2, at: 0, "Hello", from: other, on: 6)
        buyer.finish(
            task, 2, Finish(reason: "stop", promptTokens: 8, completionTokens: 1), from: other, on: 6)
        #expect(buyer.actions.text == "Hello")
        #expect(buyer.actions.summaries.first?.workers == [other.key])
        #expect(!buyer.actions.receipts.contains { $0.worker == first.key })
        #expect(trust(buyer, first) == 700)
    }

    @Test func anAnswerIsEmptyAndFreeWhenTwoSellersSaySoOrTheOnlyOne() {
        for sellers in [[ada], [ada, cyd]] {
            var buyer = Buyer()
            let (task, _) = buyer.stream(sellers)
            let nothing = FrameBody.finish(Finish(reason: "stop", promptTokens: 8))
            buyer.frame(task, 1, nothing, from: ada, on: 5)
            buyer.found(task, sellers)
            if sellers.count > 1 {
                let other = buyer.start(task, sellers, channel: 6)
                buyer.frame(task, 2, nothing, from: other, on: 6)
                buyer.found(task, sellers)
            }
            #expect(buyer.actions.summaries.map(\.reason) == ["stop"])
            #expect(buyer.actions.summaries.first?.cost == .zero && buyer.actions.receipts.isEmpty)
            let workers = buyer.auctioneer.transcript(task)?.assignments ?? []
            #expect(workers.count == sellers.count)
            #expect(
                workers.allSatisfy { $0.why == "it ended its answer without a word" }, "for `starling why`")
            for seller in sellers { #expect(trust(buyer, seller) == 1_000) }
        }
    }

    @Test(arguments: ["end", "delta", "both"]) func whatSaysNothingIsNoAnswer(_ where: String) {
        var buyer = Buyer()
        let (task, first) = buyer.stream([ada, cyd])
        if `where` != "end" {
            let delta = Delta(offset: 0, text: [], tokens: 40, extra: noWords)
            buyer.frame(task, 1, .delta(delta), from: first, on: 5)
        }
        let extra = `where` == "delta" ? [] : noWords
        buyer.finish(
            task, 1, Finish(reason: "stop", promptTokens: 8, completionTokens: 40, extra: extra), from: first,
            on: 5)
        #expect(buyer.actions.summaries.isEmpty && buyer.actions.receipts.isEmpty)
        buyer.found(task, [ada, cyd])
        let other = buyer.start(task, [ada, cyd], channel: 6)
        buyer.delta(task, 2, at: 0, "Hello", from: other, on: 6)
        buyer.finish(
            task, 2, Finish(reason: "stop", promptTokens: 8, completionTokens: 1), from: other, on: 6)
        #expect(buyer.actions.text == "Hello" && buyer.actions.extras.isEmpty)
        #expect(buyer.actions.summaries.first?.workers == [other.key])
        #expect(trust(buyer, first) == 700)
    }

    @Test func whatSaysNothingReachesTheClientWithTheFirstThatSaysSomething() {
        var buyer = Buyer()
        let (task, _) = buyer.stream([ada])
        buyer.frame(task, 1, .delta(Delta(offset: 0, text: [], tokens: 0, extra: noWords)), from: ada, on: 5)
        #expect(buyer.actions.extras.isEmpty)
        let next = Delta(offset: UInt64(noWords.count), text: [], tokens: 2, extra: toolCall)
        buyer.frame(task, 1, .delta(next), from: ada, on: 5)
        #expect(buyer.actions.extras == [noWords, toolCall])
    }

    @Test(arguments: [
        "", "{}", "null", "[{", "[1]", #"[{"index":128,"delta":{"content":"x"}}]"#,
        #"[{"index":1,"delta":{"content":"x"}}]"#, #"[{"index":0,"delta":{"content":5}}]"#,
    ])
    func whatIsNoListOfTheChoicesAskedForIsAViolation(_ extra: String) {
        var buyer = Buyer()
        let (task, first) = buyer.stream([ada, cyd])
        let bytes = extra.isEmpty ? [0xff] : Array(extra.utf8)
        buyer.frame(task, 1, .delta(Delta(offset: 0, text: [], tokens: 1, extra: bytes)), from: first, on: 5)
        #expect(buyer.actions.closed == [5] && trust(buyer, first) == 700)
    }

    /// A client gets only the choices, and would pay for both.
    @Test func textBesideChoicesIsAViolation() {
        var buyer = Buyer()
        let (task, first) = buyer.stream([ada, cyd])
        let both = Delta(offset: 0, text: Array("junk".utf8), tokens: 4, extra: toolCall)
        buyer.frame(task, 1, .delta(both), from: first, on: 5)
        #expect(buyer.actions.closed == [5] && trust(buyer, first) == 700)
    }

    @Test func aPreludeWithoutAWordIsBounded() {
        var buyer = Buyer()
        let (task, first) = buyer.stream([ada, cyd])
        for part in 0..<400 {
            let delta = Delta(offset: UInt64(part * noWords.count), text: [], tokens: 0, extra: noWords)
            buyer.frame(task, 1, .delta(delta), from: first, on: 5)
        }
        #expect(buyer.actions.closed == [5])
    }

    @Test func whereNobodyFinishedATaskThreeFindingsSettleIt() {
        var buyer = Buyer()
        let sellers = [ada, bob, cyd, Seller(8, "dan", price: price(30, 300))]
        let fail = failure("backend_error", another: true)
        let (task, _, other) = second(&buyer, sellers, fail)
        buyer.frame(task, 2, fail, from: other, on: 6)
        #expect(buyer.actions.failures.isEmpty, "two fresh keys may belong to one liar")
        buyer.found(task, sellers)
        let third = buyer.start(task, sellers, channel: 7)
        buyer.frame(task, 3, fail, from: third, on: 7)
        #expect(buyer.actions.failures.map(\.reason) == [.backendError])
        for seller in sellers { #expect(trust(buyer, seller) == 1_000) }
    }

    @Test func keysThatDidOneTaskEachDoNotSettleOneWhileASellerOfManyCanBeAsked() {
        for finding in [failure("backend_error", another: true), .finish(Finish(reason: "stop"))] {
            var buyer = Buyer()
            let liars = [Seller(41, "one", price: price(1, 1)), Seller(42, "two", price: price(1, 2))]
            buyer.know([bob])
            buyer.know(liars, finished: 1)
            let (task, first, other) = second(&buyer, liars + [bob], finding)
            #expect(first.key == liars[0].key && other.key == liars[1].key)
            buyer.frame(task, 2, finding, from: other, on: 6)
            buyer.actions = []
            buyer.found(task, liars + [bob])
            #expect(buyer.actions.calls.map(\.2) == [bob.key])
            #expect(buyer.start(task, liars + [bob], channel: 7).key == bob.key)
            buyer.delta(task, 3, at: 0, "Hello", from: bob, on: 7)
            buyer.finish(
                task, 3, Finish(reason: "stop", promptTokens: 8, completionTokens: 1), from: bob, on: 7)
            #expect(buyer.actions.text == "Hello")
            for liar in liars { #expect(trust(buyer, liar) == 700) }
        }
    }

    @Test func aFindingAfterTheFirstByteThatEndsTheAnswerIsBlamedAndItsSellerSoonComesLast() {
        var buyer = Buyer()
        let liar = Seller(41, "liar", price: price(1, 1))
        let plain = request { $0.resumable = false }
        for round in 0..<2 as Range<UInt64> {
            buyer.milliseconds += 2_000
            let channel = ChannelID(rawValue: 5 + round)
            let (task, worker) = buyer.stream([liar, ada], request: plain, channel: channel)
            #expect(worker.key == liar.key)
            buyer.delta(task, at: 0, "w", from: liar, on: channel)
            buyer.frame(task, 1, failure("backend_error", another: true), from: liar, on: channel)
            #expect(buyer.take().failures.count == 1)
        }
        #expect(trust(buyer, liar) < 500)
        #expect(buyer.stream([liar, ada], request: plain, channel: 9).1.key == ada.key)
    }

    @Test func newKeysThatAgreeDoNotSettleATaskWhileAProvenSellerCanBeAsked() {
        var parameters = MarketParameters.withoutProbation
        parameters.suspensionMin = .zero
        var buyer = Buyer(parameters: parameters)
        let (before, _) = buyer.stream([bob], channel: 4)
        buyer.delta(before, 1, at: 0, "Hello", from: bob, on: 4)
        buyer.finish(
            before, 1, Finish(reason: "stop", promptTokens: 8, completionTokens: 1), from: bob, on: 4)
        _ = buyer.take()
        let liars = [
            Seller(41, "one", price: price(1, 1)), Seller(42, "two", price: price(1, 1)),
            Seller(43, "three", price: price(1, 1)),
        ]
        let sellers = liars + [bob]
        let (task, first) = buyer.stream(sellers)
        buyer.frame(task, 1, failure("invalid_request", another: false), from: first, on: 5)
        buyer.found(task, sellers)
        let second = buyer.start(task, sellers, channel: 6)
        #expect(second.key != bob.key)
        buyer.frame(task, 2, failure("invalid_request", another: false), from: second, on: 6)
        #expect(buyer.actions.failures.isEmpty)
        buyer.actions = []
        buyer.found(task, sellers)
        #expect(buyer.actions.calls.map(\.2) == [bob.key])
        #expect(buyer.start(task, sellers, channel: 7).key == bob.key)
        buyer.delta(task, 3, at: 0, "Hello", from: bob, on: 7)
        buyer.finish(
            task, 3, Finish(reason: "stop", promptTokens: 8, completionTokens: 1), from: bob, on: 7)
        #expect(buyer.actions.summaries.count == 1)
        #expect(trust(buyer, first) == 700 && trust(buyer, second) == 700)
    }

    @Test func aToolCallAndAnEmbeddingAreNoEmptyAnswers() {
        var buyer = Buyer()
        let (task, _) = buyer.stream([ada])
        let call = Delta(offset: 0, text: [], tokens: 3, extra: toolCall)
        buyer.frame(task, 1, .delta(call), from: ada, on: 5)
        buyer.finish(
            task, 1, Finish(reason: "tool_calls", promptTokens: 8, completionTokens: 3), from: ada, on: 5)
        #expect(buyer.actions.summaries.map(\.reason) == ["tool_calls"])
        let (other, _) = buyer.stream(
            [ada],
            request: request {
                $0.kind = .embedding; $0.features = []
            })
        buyer.finish(
            other, 1, Finish(reason: "stop", promptTokens: 8, extra: vector), from: ada, on: 5)
        #expect(buyer.actions.summaries.count == 1)
    }

    private var vector: [UInt8] { Array(#"{"data":[{"index":0,"embedding":[1]}]}"#.utf8) }

    @Test(arguments: [
        "{", #"{"data":[]}"#, #"{"data":[{"index":0,"embedding":"no"}]}"#,
        #"{"data":[{"index":0,"embedding":[1]},{"index":1,"embedding":[1]}]}"#,
    ])
    func anEmbeddingThatIsNoneIsAViolationAndMovesToTheNextWorker(_ answer: String) {
        var buyer = Buyer()
        let (task, _) = buyer.stream(
            [ada],
            request: request {
                $0.kind = .embedding; $0.features = []
            })
        buyer.finish(
            task, 1, Finish(reason: "stop", promptTokens: 8, extra: Array(answer.utf8)), from: ada, on: 5)
        #expect(buyer.actions.summaries.isEmpty && buyer.actions.failures.isEmpty)
        #expect(buyer.actions.needs == 1)
        buyer.found(task, [ada, bob])
        #expect(buyer.actions.calls.map(\.2) == [bob.key])
        _ = buyer.start(task, [bob], channel: 6)
        buyer.finish(task, 2, Finish(reason: "stop", promptTokens: 8, extra: vector), from: bob, on: 6)
        #expect(buyer.actions.summaries.map(\.extra) == [vector])
    }

    // MARK: Beginning again

    @Test func anAnswerOfWhichNoByteReachedItsClientBeginsAgainWhereNobodyElseHasItsWeights() {
        var buyer = Buyer()
        let other = Seller(5, "dot", quantization: "q4_k_m")
        let (task, _) = buyer.stream(
            [ada],
            request: request {
                $0.streams = false; $0.tokensOutMax = 10
            })
        buyer.delta(task, at: 0, "Hel", from: ada, on: 5)
        buyer.auctioneer.channelClosed(5, turn: &buyer.turn, out: &buyer.actions)
        buyer.found(task, [ada, other])
        #expect(buyer.actions.restarts == 1 && buyer.actions.needs == 2)
        buyer.found(task, [ada, other])
        #expect(buyer.actions.calls.map(\.2) == [other.key])
        #expect(buyer.actions.calls.first?.1.mustContinue == false)
        #expect(buyer.actions.calls.first?.1.tokensOutMax == 10)
        _ = buyer.start(task, [other], channel: 6)
        buyer.delta(task, 2, at: 0, "Hullo", from: other, on: 6)
        buyer.finish(
            task, 2, Finish(reason: "stop", promptTokens: 8, completionTokens: 1), from: other, on: 6)
        #expect(buyer.actions.summaries.first?.completionTokens == 1, "what was thrown away is no part of it")
    }

    @Test func anAnswerThatCannotBeContinuedBeginsAgainAtOnceWhereTheClientHasNothing() {
        var buyer = Buyer()
        let (task, _) = buyer.stream(
            [ada, cyd],
            request: request {
                $0.resumable = false; $0.streams = false
            })
        buyer.delta(task, at: 0, "Hel", from: ada, on: 5)
        buyer.auctioneer.channelClosed(5, turn: &buyer.turn, out: &buyer.actions)
        #expect(buyer.actions.restarts == 1 && buyer.actions.failures.isEmpty)
        buyer.found(task, [ada, cyd])
        #expect(buyer.actions.calls.map(\.2) == [cyd.key])
    }
}
