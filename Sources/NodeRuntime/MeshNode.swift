// The interface of a running node for the gateway and everything else off the loop. `Node`, the actor on the
// loop's executor, conforms; tests use a scripted one.

import Market
import MeshDocuments
import Primitives

/// A node as its HTTP surface uses it.
public protocol MeshNode: Sendable {
    /// Starts a task of a client: the name of its API key, or empty for the owner. Never throws: a refusal is the stream's
    /// only event.
    func submit(_ request: TaskRequest, by client: String) async -> any TaskStreaming
    /// What sellers would do the request's task for; nothing is awarded.
    func quote(_ request: TaskRequest) async throws(TaskFailure) -> QuoteDocument
    /// Every model that this node has heard of, sorted by name.
    func catalogue() async -> [ModelSummaryDocument]
    func peers() async -> PeersDocument
    /// All offers held, or only those of one canonical model name.
    func offers(model: String?) async -> OffersDocument
    /// Finds a task by id or a unique prefix of at least six characters. Returns nil when it is unknown or
    /// forgotten.
    func task(_ idOrPrefix: String) async -> TaskDocument?
    func status() async -> StatusDocument
    /// Who owes what, with the receipts and sales since a UTC day (since 1970); nil: all that are kept.
    func accounts(since day: Int64?) async -> LedgerDocument
    /// Has the operator's command pay what is owed to a node, named as in `resolve`.
    func settle(with node: String) async throws(SettleRefusal) -> SettleDocument
    /// What the client with the API key of this name used; of all clients for nil.
    func usage(of client: String?) async -> UsageDocument
    /// Stops taking new work; running tasks finish.
    func pause() async
    func resume() async
    /// Changes a model's terms, stated in JSON as in a `serve` entry of the configuration, with its `model`.
    func setTerms(_ text: String) async throws(TermsRefusal)
    /// Finds each node by its public key, its id, the first characters of that (at least `NodeID.shortCount`),
    /// or the name that the owner gave it.
    func resolve(nodes: [String]) async -> [NodeMatch]
}

extension MeshNode {
    /// Starts a task of the owner.
    public func submit(_ request: TaskRequest) async -> any TaskStreaming {
        await submit(request, by: "")
    }
}

/// One task's output on its way to a client. It has one reader.
public protocol TaskStreaming: Sendable {
    var id: TaskID { get }
    /// Returns all buffered events in order, waiting while there are none. Returns nil after the last event
    /// and after `cancel`, and an empty array only after `wake`. Cancelling the waiting Swift task cancels
    /// the stream.
    func next() async -> [ClientEvent]?
    /// Reports that this many bytes (`ClientEvent.bytes`) were sent to the client, so the source may send
    /// more.
    func consumed(_ bytes: Int)
    /// Makes the waiting (or the next) `next()` return at once, perhaps with nothing: for a reader with a
    /// timer.
    func wake()
    /// The client has gone. May be called from any thread, at any time, repeatedly; does nothing after the
    /// last event.
    func cancel()
}

extension ClientEvent {
    /// The event's weight in flow control.
    public var bytes: Int {
        switch self {
        case .delta(let text, _, let extra): text.count + extra.count
        case .awarded, .progress, .restarted, .finished, .failed, .quoted: 0
        }
    }

    /// Whether it is the last event.
    public var isFinal: Bool {
        switch self {
        case .finished, .failed, .quoted: true
        case .awarded, .delta, .progress, .restarted: false
        }
    }
}
