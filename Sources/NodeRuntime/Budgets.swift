import Market
import NodeConfiguration
import Primitives
import Store
import Wire

/// What this node's clients may spend in a UTC day, have spent, and may still spend with the tasks that run. A task reserves
/// the most that it can cost before anybody is asked; what it really cost is counted when it has ended.
struct Budgets {
    /// A bound that leaves too little.
    struct Refusal: Equatable {
        /// The name of the API key; empty: the node.
        var client: String
        var bound: Money
        var left: Money
        var needed: Money
    }

    private struct Running {
        var client: String
        var model: String
        var most: Money
    }

    /// Of the node, and of each key that has a bound.
    private(set) var bound: Money?
    private(set) var bounds: [String: Money] = [:]
    private var day: Int64 = 0
    /// Today's, by client; "" is the owner's.
    private var spent: [String: Money] = [:]
    private var running: [TaskID: Running] = [:]
    /// What the database doesn't have yet.
    private(set) var pending = Usage()

    init(_ settings: AskSettings, kept: Usage, at now: WallTime) {
        set(settings)
        day = SalesJournal.day(of: now)
        for (key, sums) in kept.sums where key.day == day { spent[key.client, default: .zero] += sums.cost }
    }

    mutating func set(_ settings: AskSettings) {
        bound = settings.creditsPerDay
        bounds = Dictionary(
            settings.keys.compactMap { key in key.creditsPerDay.map { (key.name, $0) } },
            uniquingKeysWith: min)
    }

    /// Whether a client's tasks have a bound.
    func bounds(_ client: String) -> Bool { bound != nil || bounds[client] != nil }

    func spentToday(_ client: String?, at now: WallTime) -> Money {
        guard SalesJournal.day(of: now) == day else { return .zero }
        return client.map { spent[$0] ?? .zero } ?? spent.values.reduce(.zero, +)
    }

    func reserved(_ client: String?) -> Money {
        running.values.reduce(.zero) { client == nil || $1.client == client ? $0 + $1.most : $0 }
    }

    /// What is left today of a client's bound, or of the node's (nil).
    func left(_ client: String?, at now: WallTime) -> Money? {
        guard let bound = client.map({ bounds[$0] }) ?? bound else { return nil }
        return max(.zero, bound - spentToday(client, at: now) - reserved(client))
    }

    /// Why a task that can cost that much may not begin; nil: it may.
    func refusal(of most: Money, client: String, at now: WallTime) -> Refusal? {
        for (name, account) in [(client, client as String?), ("", nil)] {
            guard let left = left(account, at: now), most > left else { continue }
            return Refusal(
                client: name, bound: account.map { bounds[$0] ?? .zero } ?? bound ?? .zero, left: left,
                needed: most)
        }
        return nil
    }

    /// Reserves what the task can cost at most.
    mutating func started(_ task: TaskID, client: String, model: String, most: Money) {
        running[task] = Running(client: client, model: model, most: most)
    }

    /// Counts what an ended task cost, and gives back the rest of what it had reserved.
    mutating func ended(_ task: TaskID, _ transcript: TaskTranscript?, at now: WallTime) {
        guard let ended = running.removeValue(forKey: task), let transcript else { return }
        let sums = UsageSums(
            tasks: 1, promptTokens: Int64(clamping: transcript.promptTokens),
            completionTokens: Int64(clamping: transcript.completionTokens), cost: transcript.cost)
        guard sums.cost > .zero || sums.completionTokens > 0 || transcript.state == .delivered else { return }
        let today = SalesJournal.day(of: now)
        if today != day { (day, spent) = (today, [:]) }
        spent[ended.client, default: .zero] += sums.cost
        let model = transcript.model.isEmpty ? ended.model : transcript.model
        pending.sums[Usage.Key(day: today, client: ended.client, model: model), default: UsageSums()] += sums
    }

    mutating func take() -> Usage {
        defer { pending = Usage() }
        return pending
    }

    /// The database refused it.
    mutating func giveBack(_ usage: Usage) { pending += usage }
}

extension TaskRequest {
    /// The most that it can cost: the client's limit, or less where its tokens at the highest prices are. A prompt has at
    /// most as many tokens as the request has bytes.
    var mostCost: Money {
        let limit = preferences.maxCost ?? WireLimits.costMax
        let each = kind == .embedding ? 0 : tokensOutMax
        guard let input = preferences.maxInputPrice, let output = preferences.maxOutputPrice, let each else {
            return limit
        }
        let tokens = UInt64(each) * UInt64(max(1, choices))
        let rates = Price(input: input, cachedInput: input, output: output)
        let cost = Scoring.cost(
            rates, prompt: UInt64(max(Int(tokensIn), body.count)), cached: 0, completion: tokens)
        return min(limit, cost)
    }
}
