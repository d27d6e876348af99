import NodeConfiguration
import Primitives
import UVLoop

/// Why new terms are refused, and the fix. Nothing has changed.
public struct TermsRefusal: Error, Sendable {
    public var problem: String
    public var fix: String

    public init(problem: String, fix: String) { (self.problem, self.fix) = (problem, fix) }
}

/// What became of a configuration that was read again: paths of keys.
public struct Reloaded: Sendable, Equatable {
    public var applied: [String]
    public var needRestart: [String]
}

// Terms that change while the node runs. Tasks that have a bid keep its price.
extension Node {
    /// Quiet hours begin and end within so long.
    private static let quietLooks = Interval.seconds(60)

    func armQuiet(_ now: WallTime) {
        guard backends.contains(where: { !$0.terms.quiet.isEmpty }) else { return }
        let minute = Self.quietLooks.milliseconds
        quietTimer?.arm(after: .milliseconds(minute - now.milliseconds % minute))
    }

    /// Changes what `text` states of a model's terms, in the words of a `serve` entry, until the node restarts or its file is
    /// read again.
    public func setTerms(_ text: String) async throws(TermsRefusal) {
        var new: [(index: Int, terms: TermsSettings)] = []
        do throws(ConfigurationError) {
            let change = try TermsChange(parsing: text, source: "the terms")
            let model = change.model
            let sold = backends.indices.filter { backends[$0].model == model }
            guard !sold.isEmpty else { return try notSold(model) }
            for index in sold { new.append((index, try change.applied(to: backends[index].terms, names))) }
        } catch {
            throw TermsRefusal(problem: error.problem, fix: error.fix)
        }
        for (index, terms) in new { setTerms(terms, of: index) }
        updateServed()
        flush()
    }

    private func notSold(_ model: String) throws(ConfigurationError) {
        let models = backends.map(\.model)
        throw ConfigurationError(
            file: "the terms", line: nil, problem: "this node does not sell \(model.prefix(100))",
            fix: models.isEmpty
                ? "add a `serve` entry to its file, and start it again"
                : Nearest.match(model, in: models).map { "did you mean \($0)?" }
                    ?? "it sells \(Nearest.list(models))")
    }

    /// Applies what can change of a file that was read again; the rest stays as it was at the start.
    public func reload(_ new: NodeSettings) async -> Reloaded {
        for index in backends.indices {
            if let entry = new.serve.first(where: { $0.soldAs == backends[index].model }) {
                setTerms(entry.terms, of: index)
            }
        }
        updateServed()
        flush()
        budgets.set(new.ask)
        defer { current = new }
        return Reloaded(
            applied: new.changes(from: current).filter(NodeSettings.canChange),
            needRestart: new.changes(from: settings).filter { !NodeSettings.canChange($0) })
    }

    private func setTerms(_ terms: TermsSettings, of index: Int) {
        guard terms != backends[index].terms else { return }
        backends[index].change(to: terms, SystemClock.monotonic)
        log.notice("new terms", metadata: ["model": "\(backends[index].model)"])
    }
}
