import Cryptography
import Primitives
import Testing
import Wire

@testable import Market

@Suite struct SalePolicyTests {
    private func worker(slots: Int = 4, _ change: (inout ServedModel) -> Void) -> Worker {
        var worker = Worker()
        var served = ada.served
        served.slots = slots
        served.places = 16
        change(&served)
        worker.bidder.setServed([served])
        return worker
    }

    private func bid(_ message: MarketMessage?) throws -> Bid {
        guard case .bid(let signed)? = message else {
            throw Unexpected(message: message)
        }
        return try Bid(decoding: signed.body)
    }

    private func decline(_ message: MarketMessage?) throws -> Decline {
        guard case .decline(let decline)? = message else { throw Unexpected(message: message) }
        return decline
    }

    private struct Unexpected: Error { var message: MarketMessage? }

    private func reasons(_ worker: inout Worker) -> [Reason] {
        worker.take().compactMap { if case .declined(_, _, let reason) = $0 { reason } else { nil } }
    }

    // MARK: - Surge

    @Test func thePriceRisesWithTheSlotsTakenUpToTheOneThatTheOfferStates() throws {
        var worker = worker { $0.policy.surge = 1_500 }
        var served = ada.served
        (served.slots, served.policy.surge) = (4, 1_500)
        var prices: [Int64] = []
        for number in 1...6 as ClosedRange<UInt64> {
            let bid = try bid(worker.handle(.callForBids(call(number)), from: asker(2_000 + number)))
            prices.append(bid.price.output)
            #expect(bid.price.output <= served.offeredPrice.output)
            #expect(bid.price.input <= served.offeredPrice.input)
            #expect(bid.price.cachedInput <= served.offeredPrice.cachedInput)
        }
        let base = ada.served.price.output
        #expect(prices == [base, base * 9 / 8, base * 10 / 8, base * 11 / 8, base * 12 / 8, base * 12 / 8])
        #expect(served.offeredPrice.output == base * 3 / 2)
    }

    @Test func aRepeatedCallGetsTheSameBidWhateverThePriceIsNow() throws {
        var worker = worker { $0.policy.surge = 2_000 }
        let first = worker.handle(.callForBids(call(1)), from: asker(2_001))
        _ = worker.handle(.callForBids(call(2)), from: asker(2_002))
        #expect(worker.handle(.callForBids(call(1)), from: asker(2_001)) == first)
    }

    @Test func noPriceOverflows() {
        let policy = SalePolicy(surge: 10_000)
        let high = Price(input: .max, cachedInput: 0, output: WireLimits.priceMax)
        let price = policy.price(high, taken: 1_024, of: 1_024)
        #expect(price.input == WireLimits.priceMax && price.output == WireLimits.priceMax)
        #expect(policy.price(high, taken: 0, of: 0) == high)
    }

    @Test func theBuyersLimitIsHeldAgainstThePriceOfTheBid() throws {
        var worker = worker { $0.policy.surge = 2_000 }
        let limit = ada.served.price
        let limited = { (number: UInt64) in call(number) { $0.maxPrice = limit } }
        _ = try bid(worker.handle(.callForBids(limited(1)), from: asker(2_001)))
        #expect(
            try decline(worker.handle(.callForBids(limited(2)), from: asker(2_002))).reason == .overMaxPrice)
    }

    // MARK: - New terms

    @Test func whileARaisedOfferSpreadsBidsKeepTheOldPrice() throws {
        var worker = worker {
            $0.former = ServedModel.Former($0.price, until: moment(10_000).monotonic)
            $0.price = price(40, 400)
        }
        #expect(try bid(worker.handle(.callForBids(call(1)), from: asker(2_001))).price == ada.served.price)
        worker.advance(to: 10_000)
        #expect(try bid(worker.handle(.callForBids(call(2)), from: asker(2_002))).price == price(40, 400))
    }

    @Test func aTaskKeepsItsBidsPriceWhenTheTermsChange() throws {
        var worker = worker { _ in }
        let old = try bid(worker.handle(.callForBids(call(1)), from: asker(2_001))).price
        var served = ada.served
        served.price = price(40, 400)
        worker.bidder.setServed([served])
        let job = try worker.run(1, from: asker(2_001), on: 99)
        #expect(job.rawValue > 0)
        #expect(try bid(worker.handle(.callForBids(call(2)), from: asker(2_002))).price == price(40, 400))
        #expect(old == ada.served.price)
    }

    // MARK: - Reserve

    @Test func aTaskThatWouldBringLessThanTheReserveIsDeclinedAndCounted() throws {
        // 8 tokens in at 0.20 and 64 out at 2.00 are 130 µcr.
        var worker = worker { $0.policy.reserve = Money(microCredits: 131) }
        #expect(try decline(worker.handle(.callForBids(call(1)), from: asker(2_001))).reason == .overMaxPrice)
        #expect(reasons(&worker) == [.belowReserve])
        _ = try bid(worker.handle(.callForBids(call(2) { $0.tokensOut = 65 }), from: asker(2_001)))
        let short = call(3) { ($0.tokensOut, $0.tokensOutMax) = (65, 64) }
        #expect(try decline(worker.handle(.callForBids(short), from: asker(2_001))).reason == .overMaxPrice)
        _ = try bid(worker.handle(.callForBids(call(4) { $0.mustContinue = true }), from: asker(2_002)))
    }

    // MARK: - Allow and deny

    @Test func onlyTheListedNodesAreServedAndTheSellerItself() throws {
        var list = NodeList()
        list.add(asker(2_001).key)
        let isID = list.add(NodeID(of: asker(2_002).key).short)
        #expect(isID)
        var only = worker { $0.policy.allowed = list }
        _ = try bid(only.handle(.callForBids(call(1)), from: asker(2_001)))
        _ = try bid(only.handle(.callForBids(call(2)), from: asker(2_002)))
        #expect(try decline(only.handle(.callForBids(call(3)), from: asker(2_003))).reason == .untrusted)
        _ = try bid(
            only.handle(.callForBids(call(4)), from: PeerAddress(key: ada.key, endpoint: .loopback(1))))
        #expect(reasons(&only) == [.notAllowed])
        var but = worker { $0.policy.denied = list }
        #expect(try decline(but.handle(.callForBids(call(1)), from: asker(2_001))).reason == .untrusted)
        #expect(try decline(but.handle(.callForBids(call(2)), from: asker(2_002))).reason == .untrusted)
        _ = try bid(but.handle(.callForBids(call(3)), from: asker(2_003)))
    }

    // MARK: - Rates

    @Test func aBuyerGetsItsTasksOfAMinuteAndThenATimeToComeBack() throws {
        var worker = worker { $0.policy.tasksPerMinute.buyer = 2 }
        _ = try worker.runAndPay(1, from: asker(2_001), 2_001)
        _ = try worker.runAndPay(2, from: asker(2_001), 2_001)
        let refused = try decline(worker.handle(.callForBids(call(3)), from: asker(2_001)))
        #expect(refused.reason == .holdLimit && refused.retryAfterMilliseconds == 30_000)
        #expect(reasons(&worker) == [.overRate])
        _ = try bid(worker.handle(.callForBids(call(4)), from: asker(2_002)))
        worker.advance(to: 30_000)
        _ = try worker.runAndPay(5, from: asker(2_001), 2_001)
        #expect(try decline(worker.handle(.callForBids(call(6)), from: asker(2_001))).reason == .holdLimit)
    }

    @Test func bidsThatLostAreNoTasks() throws {
        var worker = worker { $0.policy.tasksPerMinute.buyer = 1 }
        for number in 1...20 as ClosedRange<UInt64> {
            _ = try bid(worker.handle(.callForBids(call(number)), from: asker(2_001)))
            let release = Release(task: TaskID(high: 1, low: number), attempt: 1, winningScore: 5)
            _ = worker.handle(.release(release), from: asker(2_001))
        }
        _ = try worker.runAndPay(21, from: asker(2_001), 2_001)
        #expect(try decline(worker.handle(.callForBids(call(22)), from: asker(2_001))).reason == .holdLimit)
    }

    @Test func manyBidsAtOnceAreNoWayAroundIt() throws {
        var worker = worker { $0.policy.tasksPerMinute.buyer = 2 }
        let answers = (1...4 as ClosedRange<UInt64>).map {
            worker.handle(.callForBids(call($0)), from: asker(2_001))
        }
        #expect(answers.count { if case .bid? = $0 { true } else { false } } == 2)
    }

    @Test func theKeysOfANetworkShareItsRate() throws {
        var worker = worker { $0.policy.tasksPerMinute.network = 2 }
        func ask(_ number: UInt64) -> MarketMessage? {
            let key = asker(3_000 + number).key
            return worker.handle(
                .callForBids(call(number)), from: PeerAddress(key: key, endpoint: .loopback(9)))
        }
        _ = try bid(ask(1))
        _ = try bid(ask(2))
        #expect(try decline(ask(3)).reason == .holdLimit)
        _ = try bid(worker.handle(.callForBids(call(4)), from: asker(2_001)))
    }

    @Test func whatIsKnownOfRatesIsBounded() throws {
        var parameters = MarketParameters()
        parameters.ratedBuyersMax = 8
        var rates = BuyerRates(capacity: parameters.ratedBuyersMax)
        var served = ada.served
        served.policy.tasksPerMinute = SalePolicy.PerParty(buyer: 1, network: 1)
        for number in 1...100 as ClosedRange<UInt64> {
            let party = SlotShares.Party(buyer: asker(number).key, group: number, isOwn: false)
            #expect(rates.wait(party, served, moment(0).monotonic) == nil)
            rates.take(party, served, moment(0).monotonic)
            #expect(rates.wait(party, served, moment(0).monotonic) == .seconds(60))
        }
        #expect(rates.tables.allSatisfy { $0.count == 8 && $0.bound == 8 })
    }
}
