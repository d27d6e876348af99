import MeshDocuments
import Primitives
import Store
import UVLoop

// What this node's own clients used.
extension Node {
    /// - Parameter client: the name of the API key whose usage is asked for; nil: all.
    public func usage(of client: String?) async -> UsageDocument {
        var all = (try? await ledger.usage()) ?? Usage()
        let now = SystemClock.wall
        all += budgets.pending
        var names = Set(all.sums.keys.map(\.client)).union(current.ask.keys.map(\.name)).union([""])
        if let client { names = [client] }
        let today = SalesJournal.day(of: now)
        let clients = names.sorted().map { name in
            UsageDocument.Client(all, name, budget: budget(name, now), today: today)
        }
        return UsageDocument(node: client == nil ? budget(nil, now) : nil, clients: clients)
    }

    private func budget(_ client: String?, _ now: WallTime) -> BudgetDocument {
        BudgetDocument(
            creditsPerDay: client.map { budgets.bounds[$0] } ?? budgets.bound,
            reserved: budgets.reserved(client), left: budgets.left(client, at: now))
    }
}

extension UsageDocument.Client {
    fileprivate init(_ usage: Usage, _ name: String, budget: BudgetDocument, today: Int64) {
        var total = PeriodsDocument(
            today: UsageSumsDocument(), week: UsageSumsDocument(), all: UsageSumsDocument())
        var models: [String: PeriodsDocument<UsageSumsDocument>] = [:]
        for (key, sums) in usage.sums where key.client == name {
            total.add(sums, key.day, today)
            var used =
                models[key.model]
                ?? PeriodsDocument(
                    today: UsageSumsDocument(), week: UsageSumsDocument(), all: UsageSumsDocument())
            used.add(sums, key.day, today)
            models[key.model] = used
        }
        self.init(
            client: name, budget: budget, used: total,
            models: models.sorted { $0.key < $1.key }.map { .init(model: $0.key, used: $0.value) })
    }
}

extension PeriodsDocument<UsageSumsDocument> {
    fileprivate mutating func add(_ sums: UsageSums, _ day: Int64, _ today: Int64) {
        if day == today { self.today.add(sums) }
        if day > today - 7 { week.add(sums) }
        all.add(sums)
    }
}

extension UsageSumsDocument {
    fileprivate mutating func add(_ sums: UsageSums) {
        var total = UsageSums(
            tasks: tasks, promptTokens: promptTokens, completionTokens: completionTokens, cost: cost)
        total += sums
        self = UsageSumsDocument(
            tasks: total.tasks, promptTokens: total.promptTokens, completionTokens: total.completionTokens,
            cost: total.cost)
    }
}
