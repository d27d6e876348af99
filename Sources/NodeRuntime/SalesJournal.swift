import Credit
import Cryptography
import Inference
import Market
import MeshDocuments
import OpenAIFormat
import Primitives
import Store
import Wire

/// Follows the jobs of this node from their start to their receipts, and sums them up until the database has them.
struct SalesJournal {
    /// A job that runs.
    struct Running {
        var model: String
        var buyer: PublicKey
        var task: TaskID
        var attempt: UInt32
        var startedAt: MonotonicTime
        var price: Price
        /// As far as they were reported.
        var tokens = 0
    }

    /// Answers whose next receipt would be counted: each receipt states the whole cost of its answer.
    private static let answersMax = 4_096
    /// Sums that wait for a database that refuses them; beyond, buyers are summed under no name.
    private static let pendingMax = 4_096

    private var running: [JobID: Running] = [:]
    private var paid = RecentTable<ReceiptKey, (model: String, cost: Money)>(capacity: answersMax)
    private(set) var pending = Sales()

    static func day(of time: WallTime) -> Int64 { max(1, time.milliseconds / 86_400_000) }

    mutating func started(_ job: Job, by owner: PublicKey, at now: MonotonicTime) {
        running[job.id] = Running(
            model: job.model, buyer: job.buyer, task: job.task, attempt: job.attempt, startedAt: now,
            price: job.price)
        paid.insert(
            ReceiptKey(Receipt(task: job.task, attempt: job.attempt, buyer: job.buyer, worker: owner)),
            (job.model, .zero))
    }

    mutating func produced(_ job: JobID, tokens: Int) { running[job]?.tokens &+= tokens }

    /// The end of a job: `usage` of an answer that is finished, nil of one that ended in another way. Returns what it was.
    mutating func ended(_ job: JobID, usage: BackendUsage?, at now: WallTime) -> Running? {
        guard let ended = running.removeValue(forKey: job) else { return nil }
        add(
            ended.model, ended.buyer, now,
            SaleSums(
                answers: usage == nil ? 0 : 1, broken: usage == nil ? 1 : 0,
                promptTokens: Int64(clamping: usage?.promptTokens ?? 0),
                completionTokens: usage.map { Int64($0.completionTokens) } ?? Int64(clamping: ended.tokens)))
        return ended
    }

    /// A receipt for an answer of this node, which replaces the one before.
    mutating func paid(_ receipt: Receipt, at now: WallTime) {
        let key = ReceiptKey(receipt)
        guard receipt.buyer != receipt.worker, let (model, before) = paid[key] else { return }
        let more = receipt.cost - before
        guard more > .zero else { return }
        paid.insert(key, (model, receipt.cost))
        add(model, receipt.buyer, now, SaleSums(earned: more))
    }

    mutating func refused(_ model: String, _ reason: Reason, at now: WallTime) {
        let key = Sales.Refusal(day: Self.day(of: now), model: model, reason: reason.refusal)
        pending.refusals[key, default: 0] &+= 1
    }

    private mutating func add(_ model: String, _ buyer: PublicKey, _ now: WallTime, _ sums: SaleSums) {
        var key = Sales.Sale(day: Self.day(of: now), model: model, buyer: buyer)
        if pending.sales.count >= Self.pendingMax, pending.sales[key] == nil { key.buyer = PublicKey(.zero) }
        pending.sales[key, default: SaleSums()] += sums
    }

    /// What the database shall have; the caller gives it back if that refuses.
    mutating func take() -> Sales {
        defer { pending = Sales() }
        return pending
    }

    mutating func giveBack(_ sales: Sales) {
        for (key, sums) in sales.sales {
            var key = key
            if pending.sales.count >= Self.pendingMax, pending.sales[key] == nil {
                key.buyer = PublicKey(.zero)
            }
            pending.sales[key, default: SaleSums()] += sums
        }
        var refusals = Sales()
        refusals.refusals = sales.refusals
        pending += refusals
    }
}

extension SalesDocument {
    /// Buyers that are listed.
    private static let buyersMax = 10

    /// - Parameter name: a node's name, as in the other documents.
    init(_ sales: Sales, today: Int64, name: (PublicKey) -> (text: String, isPinned: Bool)) {
        var total = Periods()
        var models: [String: Periods] = [:]
        var buyers: [PublicKey: Periods] = [:]
        for (key, sums) in sales.sales {
            total.add(sums, key.day, today)
            models[key.model, default: Periods()].add(sums, key.day, today)
            buyers[key.buyer, default: Periods()].add(sums, key.day, today)
        }
        var reasons: [String: PeriodsDocument<Int64>] = [:]
        for (key, count) in sales.refusals {
            var calls = reasons[key.reason] ?? PeriodsDocument(today: 0, week: 0, all: 0)
            if key.day == today { calls.today &+= count }
            if key.day > today - 7 { calls.week &+= count }
            calls.all &+= count
            reasons[key.reason] = calls
        }
        let ranked = buyers.sorted {
            ($0.value.week.completionTokens, $0.value.all.completionTokens, $1.key)
                > ($1.value.week.completionTokens, $1.value.all.completionTokens, $0.key)
        }
        self.init(
            total: total.document,
            models: models.sorted { $0.key < $1.key }.map { Model(model: $0.key, sold: $0.value.document) },
            buyers: ranked.prefix(Self.buyersMax).map { key, periods in
                let isNobody = key == PublicKey(.zero)
                let name = isNobody ? ("", false) : name(key)
                return Buyer(
                    nodeID: isNobody ? nil : NodeID(of: key).description, name: name.0, isPinned: name.1,
                    sold: periods.document)
            },
            refused: reasons.sorted { ($0.value.all, $1.key) > ($1.value.all, $0.key) }
                .map { Refusal(reason: $0.key, calls: $0.value) })
    }

    private struct Periods {
        var today = SaleSums()
        var week = SaleSums()
        var all = SaleSums()

        mutating func add(_ sums: SaleSums, _ day: Int64, _ now: Int64) {
            if day == now { today += sums }
            if day > now - 7 { week += sums }
            all += sums
        }

        var document: PeriodsDocument<SaleSumsDocument> {
            PeriodsDocument(today: today.document, week: week.document, all: all.document)
        }
    }
}

extension SaleSums {
    var document: SaleSumsDocument {
        SaleSumsDocument(
            answers: answers, broken: broken, promptTokens: promptTokens, completionTokens: completionTokens,
            earned: earned)
    }
}

extension Reason {
    /// Why a call was declined, as the status and the log say it.
    var refusal: String {
        switch self {
        case .backendDown: "model_server_down"
        case .holdLimit: "hold_limit"
        case .tooLate: "too_late"
        case .notAllowed: "not_allowed"
        case .overRate: "over_rate"
        case .belowReserve: "below_reserve"
        case .leaving: "leaving"
        case .paused: "paused"
        case .unspecified: "cannot_connect"
        default: key
        }
    }
}
