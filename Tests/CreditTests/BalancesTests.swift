import Credit
import Primitives
import Testing
import Wire

private func node(_ number: Int) -> PublicKey { PublicKey(Bytes32(UInt64(number), 0, 0, 0)) }

private func receipt(
    task: Int = 1, attempt: UInt32 = 1, from buyer: Int, to worker: Int, sequence: UInt64, cost: Money,
    final: Bool = false
) -> Receipt {
    Receipt(
        task: TaskID(high: 0, low: UInt64(task)), attempt: attempt, buyer: node(buyer), worker: node(worker),
        sequence: sequence, cost: cost, final: final)
}

extension Money: ExpressibleByIntegerLiteral {
    public init(integerLiteral value: Int64) { self.init(microCredits: value) }
}

@Suite struct BalancesTests {
    @Test func aCumulativeReceiptAddsOnlyItsDifference() {
        var seller = Balances(of: node(1))
        var buyer = Balances(of: node(2))
        for (sequence, cost) in [(1, 10), (2, 25), (3, 40)] as [(UInt64, Money)] {
            let receipt = receipt(from: 2, to: 1, sequence: sequence, cost: cost, final: sequence == 3)
            seller.add(receipt)
            buyer.add(receipt)
            #expect(seller[node(2)] == cost)
            #expect(buyer[node(1)] == -cost)
        }
        #expect((seller.earned, seller.spent, seller.owedToOwner, seller.owedByOwner) == (40, 0, 40, 0))
        #expect((buyer.earned, buyer.spent, buyer.owedToOwner, buyer.owedByOwner) == (0, 40, 0, 40))
        #expect((seller.debtorCount, buyer.debtorCount) == (1, 0))
        #expect(seller.net + buyer.net == 0)
    }

    @Test func eachAttemptIsCountedByItself() {
        var balances = Balances(of: node(1))
        balances.add(receipt(attempt: 1, from: 2, to: 1, sequence: 1, cost: 10, final: true))
        balances.add(receipt(attempt: 2, from: 2, to: 1, sequence: 1, cost: 10, final: true))
        #expect(balances.earned == 20)
    }

    @Test func aRepeatedOrOvertakenReceiptChangesNothing() {
        var balances = Balances(of: node(1))
        let first = receipt(from: 2, to: 1, sequence: 1, cost: 10)
        let last = receipt(from: 2, to: 1, sequence: 2, cost: 15, final: true)
        for receipt in [first, last, last, first] { balances.add(receipt) }
        #expect(balances.earned == 15)
        #expect(balances[node(2)] == 15)
    }

    @Test func aNodeThatSellsToItselfOwesNothing() {
        var balances = Balances(of: node(1))
        balances.add(receipt(from: 1, to: 1, sequence: 1, cost: 10))
        #expect((balances.earned, balances.spent, balances.net) == (0, 0, 0))
    }

    @Test func receiptsBetweenOthersAreNotCounted() {
        var balances = Balances(of: node(1))
        balances.add(receipt(from: 2, to: 3, sequence: 1, cost: 10))
        #expect((balances.earned, balances.spent, balances.net) == (0, 0, 0))
        #expect(balances[node(2)] == 0)
    }

    @Test func debtsBothWaysWithOnePeerCancelOut() {
        var balances = Balances(
            of: node(1), byPeer: [node(2): 30, node(3): -5], earned: 30, spent: 5)
        balances.add(receipt(from: 1, to: 2, sequence: 1, cost: 50))
        #expect(balances[node(2)] == -20)
        #expect((balances.owedToOwner, balances.owedByOwner, balances.debtorCount) == (0, 25, 0))
        #expect((balances.earned, balances.spent) == (30, 55))
    }

    @Test func hostileCostsAreClampedAndNeverTrap() {
        var balances = Balances(of: node(1))
        for task in 1...3 {
            balances.add(receipt(task: task, from: 2, to: 1, sequence: 1, cost: Money(microCredits: .max)))
            balances.add(receipt(task: task, from: 1, to: 3, sequence: 1, cost: Money(microCredits: .max)))
            balances.add(receipt(task: task, from: 1, to: 4, sequence: 1, cost: Money(microCredits: .min)))
        }
        #expect(balances.earned.microCredits == .max)
        #expect(balances[node(2)].microCredits == .max)
    }

    /// Or each receipt of the long one would be counted whole.
    @Test func manyShortAnswersDoNotMakeALongOneForgotten() {
        var balances = Balances(of: node(1))
        balances.add(receipt(task: 0, from: 2, to: 1, sequence: 1, cost: 10))
        for task in 1...(CreditLimits.assignmentsMax + CreditLimits.endedMax) {
            balances.add(receipt(task: task, from: 3, to: 1, sequence: 1, cost: 0, final: true))
        }
        balances.add(receipt(task: 0, from: 2, to: 1, sequence: 2, cost: 20, final: true))
        #expect(balances.earned == 20 && balances[node(2)] == 20)
    }

    @Test func theAssignmentWithTheOldestReceiptIsForgottenFirst() {
        var balances = Balances(of: node(1))
        balances.add(receipt(task: 1, from: 2, to: 1, sequence: 1, cost: 10))
        balances.add(receipt(task: 2, from: 2, to: 1, sequence: 1, cost: 10))
        balances.add(receipt(task: 1, from: 2, to: 1, sequence: 2, cost: 20))
        // All but one more fit: task 2 leaves, task 1 stays.
        for task in 3...(CreditLimits.assignmentsMax + 1) {
            balances.add(receipt(task: task, from: 2, to: 1, sequence: 1, cost: 0))
        }
        balances.add(receipt(task: 1, from: 2, to: 1, sequence: 3, cost: 30))
        #expect(balances.earned == 40)
        balances.add(receipt(task: 2, from: 2, to: 1, sequence: 2, cost: 10))
        #expect(balances.earned == 50, "a receipt of a forgotten assignment is counted whole")
    }
}

/// Keeps every receipt that it was shown, and sums the latest of each assignment on demand.
private struct ReferenceBalances {
    let owner: PublicKey
    private var receipts: [Receipt] = []

    init(of owner: PublicKey) { self.owner = owner }

    mutating func add(_ receipt: Receipt) { receipts.append(receipt) }

    private var latest: [Receipt] {
        var latest: [ReceiptKey: Receipt] = [:]
        for receipt in receipts {
            let key = ReceiptKey(receipt)
            if let held = latest[key], held.sequence >= receipt.sequence { continue }
            latest[key] = receipt
        }
        return latest.values.filter { $0.buyer != $0.worker }
    }

    var earned: Money { latest.filter { $0.worker == owner }.reduce(.zero) { $0 + $1.cost } }
    var spent: Money { latest.filter { $0.buyer == owner }.reduce(.zero) { $0 + $1.cost } }
    func balance(_ peer: PublicKey) -> Money {
        latest.reduce(.zero) { sum, receipt in
            if receipt.worker == owner && receipt.buyer == peer { return sum + receipt.cost }
            if receipt.buyer == owner && receipt.worker == peer { return sum - receipt.cost }
            return sum
        }
    }
}

@Suite struct BalancesModelTests {
    private static let nodes = 5

    /// Receipts of a few assignments among a few nodes, self-dealing included: with rising sequences and costs, the last
    /// one final.
    private func history(_ random: inout SeededRandom) -> [Receipt] {
        var receipts: [Receipt] = []
        for task in 1...(1 + random.below(30)) {
            let (buyer, worker) = (random.below(Self.nodes), random.below(Self.nodes))
            let attempt = UInt32(1 + random.below(3))
            let last = UInt64(1 + random.below(5))
            var cost = Money.zero
            for sequence in 1...last {
                cost += Money(microCredits: Int64(random.below(1_000)))
                receipts.append(
                    receipt(
                        task: task, attempt: attempt, from: buyer, to: worker, sequence: sequence, cost: cost,
                        final: sequence == last))
            }
        }
        return receipts
    }

    @Test(arguments: 0..<100) func balancesEqualThePlainSumWhateverIsLostRepeatedOrReordered(seed: UInt64)
        throws
    {
        var random = SeededRandom(seed: seed)
        let receipts = history(&random)
        for number in 0..<Self.nodes {
            var balances = Balances(of: node(number))
            var reference = ReferenceBalances(of: node(number))
            var arrivals = receipts.filter { _ in !random.chance(1, in: 8) }
            arrivals += random.sample(receipts.count / 2, of: receipts)
            random.shuffle(&arrivals)
            for receipt in arrivals {
                balances.add(receipt)
                reference.add(receipt)
                try #require(balances.earned == reference.earned, "seed \(seed)")
                try #require(balances.spent == reference.spent, "seed \(seed)")
            }
            var (owedTo, owedBy, debtors): (Money, Money, Int) = (0, 0, 0)
            for peer in 0..<Self.nodes {
                let amount = reference.balance(node(peer))
                try #require(balances[node(peer)] == amount, "seed \(seed), peer \(peer)")
                owedTo += max(.zero, amount)
                owedBy += max(.zero, -amount)
                debtors += amount > 0 ? 1 : 0
            }
            #expect(balances.owedToOwner == owedTo, "seed \(seed)")
            #expect(balances.owedByOwner == owedBy, "seed \(seed)")
            #expect(balances.debtorCount == debtors, "seed \(seed)")
            #expect(balances.net == balances.earned - balances.spent, "seed \(seed)")
        }
    }

    @Test(arguments: 0..<20) func overAllNodesTheNetBalancesSumToZero(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let receipts = history(&random)
        var sum = Money.zero
        for number in 0..<Self.nodes {
            // Each node sees them in its own order, some of them twice.
            var arrivals = receipts + random.sample(receipts.count / 3, of: receipts)
            random.shuffle(&arrivals)
            var balances = Balances(of: node(number))
            for receipt in arrivals { balances.add(receipt) }
            sum += balances.net
        }
        #expect(sum == 0, "seed \(seed)")
    }
}
