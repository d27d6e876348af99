import OrderedCollections
import Primitives
import Wire

/// Tasks that wait until a model's sellers are found, with one search per model for all of them. The buyer
/// searches the DHT for the topic when its offer book has few offers of the model.
///
/// A search has three sources: members' offer books (Gossip), registrars of the topic (Discovery), and the
/// offer of each provider that these name (a pull from the provider itself). Waiting tasks are answered when
/// all sources are exhausted, `gatherTime` after the first offer, or at the latest after `patience`. For a
/// model that was sold a moment ago they wait even when no source is left: a restarted seller is back within
/// seconds.
struct OfferSearches: Sendable {
    struct Search: Sendable {
        var tasks: [TaskID]
        let gossipToken: RequestToken
        var discoveryToken: RequestToken?
        var isGossiping = true
        /// Providers whose offers are being fetched.
        var pulls = 0
        var isGathering = false
        var isAnswered: Bool { tasks.isEmpty }
        var isDry: Bool { !isGossiping && discoveryToken == nil && pulls == 0 }
    }

    /// Enough sellers to stop waiting: twice what an auction calls.
    static let enough = 16
    /// An offer book with fewer offers of a model is thin: tasks are answered from it at once, and a search
    /// fills it meanwhile.
    static let thin = 16
    /// From the first offer to the answer: most providers answer within one round trip of each other.
    static let gatherTime = Interval.milliseconds(150)
    /// The longest wait. A search of 16 buckets with half a round trip each takes 0.8 s at 100 ms.
    static let patience = Interval.milliseconds(2_500)
    /// Pause between two searches for a model with few offers, and after a search that found none.
    static let pauseThin = Interval.minutes(1)
    static let pauseEmpty = Interval.seconds(1)
    /// Models searched for at a time, and models remembered.
    static let searchesMax = 8
    static let rememberedMax = 64
    /// Offers of models used in the last `usedFor` that no node refreshes for us are pulled again this often.
    static let refreshEvery = Interval.minutes(1)
    /// The most of them at a time.
    static let refreshedMax = 36
    static let usedFor = Interval.minutes(10)

    struct Remembered: Sendable {
        var ended: MonotonicTime
        var used: MonotonicTime
    }

    /// By model.
    var running: OrderedDictionary<String, Search> = [:]
    /// By model, least recently used first.
    var remembered: OrderedDictionary<String, Remembered> = [:]
    var timers = DeadlineQueue<Timer>()
    var lastToken: RequestToken = 0
    var isRefreshing = false

    enum Timer: Hashable, Sendable { case answer(String), refresh }

    /// A task needs the model. Returns whether the remembered models have changed.
    mutating func use(_ model: String, _ now: MonotonicTime) -> Bool {
        let isNew = remembered[model] == nil
        var entry = remembered.removeValue(forKey: model) ?? Remembered(ended: .zero, used: now)
        entry.used = now
        remembered[model] = entry
        if remembered.count > Self.rememberedMax { remembered.removeFirst() }
        if !isRefreshing {
            isRefreshing = true
            timers.set(.refresh, at: now + Self.refreshEvery)
        }
        return isNew
    }

    /// Whether a search may start `pause` after the last one.
    func mayStart(_ model: String, pause: Interval, _ now: MonotonicTime) -> Bool {
        guard running[model] == nil, running.count < Self.searchesMax else { return false }
        guard let last = remembered[model]?.ended, last > .zero else { return true }
        return now >= last + pause
    }

    /// Lets a task wait for the running search. The first one's patience is everybody's.
    mutating func wait(_ task: TaskID, for model: String, _ now: MonotonicTime) {
        guard let search = running[model] else { return }
        if search.isAnswered { timers.set(.answer(model), at: now + Self.patience) }
        running[model]?.tasks.append(task)
    }

    func model(gossip token: RequestToken) -> String? { running.first { $0.value.gossipToken == token }?.key }
    func model(discovery token: RequestToken) -> String? {
        running.first { $0.value.discoveryToken == token }?.key
    }

    /// An offer of the model arrived.
    mutating func offerCame(_ model: String, _ now: MonotonicTime) {
        guard let search = running[model], !search.isAnswered, !search.isGathering else { return }
        running[model]?.isGathering = true
        timers.set(.answer(model), at: now + Self.gatherTime)
    }

    /// Removes and returns the tasks that wait for the model.
    mutating func takeTasks(_ model: String) -> [TaskID] {
        let tasks = running[model]?.tasks ?? []
        running[model]?.tasks = []
        running[model]?.isGathering = false
        timers.cancel(.answer(model))
        return tasks
    }

    /// Forgets a search that is exhausted and answered.
    mutating func endIfDone(_ model: String, _ now: MonotonicTime) {
        guard let search = running[model], search.isDry, search.isAnswered else { return }
        running[model] = nil
        remembered[model]?.ended = now
    }
}
