import Market
import Primitives
import Wire

/// The model server of one machine: slots, a delay before the first token, then tokens at a steady rate, or a
/// failure.
struct SimulatedBackend {
    struct Running {
        /// Steps planned under an older ticket are void.
        var ticket: UInt32
        var task: TaskID
        var work: WorkKey
        var model: Int
        var answer: ScriptedAnswer
        var promptTokens: UInt32
        /// Tokens that other workers had delivered.
        var start: Int
        var position: Int
        var end: Int
        var reason: String
        var isPaused = false
        var hasFailure: BackendFailurePlan.Kind?
        var failureAt = 0
    }

    /// One assignment of a buyer.
    struct WorkKey: Hashable {
        var buyer: PublicKey
        var task: TaskID
        var attempt: UInt32
    }

    var jobs: [JobID: Running] = [:]
    /// Tokens that it reported to its node, for what a receipt may come.
    var produced = RecentTable<WorkKey, Int>(capacity: 1_024)
    var isDown = false
    var random: SeededRandom

    init(random: SeededRandom) { self.random = random }

    /// The shortest time between two reads: a shell gets everything since its last read in one piece.
    private static let stepMin: Int64 = 20_000_000

    /// Tokens in one step, and its duration.
    static func pace(_ plan: ServePlan) -> (tokens: Int, time: Int64) {
        let perToken = 1_000_000_000 / Int64(plan.tokensPerSecond)
        let tokens = max(1, Int(stepMin / max(1, perToken)))
        return (tokens, perToken * Int64(tokens))
    }
}
