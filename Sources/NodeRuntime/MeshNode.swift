// What the gateway (and anything else outside the loop) sees of a running node. `Node`, the actor on the loop's
// executor, conforms; tests use a scripted one.

import Market
import MeshDocuments
import Primitives

/// A node as its HTTP surface uses it.
public protocol MeshNode: Sendable {
    /// Starts a task. Never throws: a refusal is the stream's only event.
    func submit(_ request: TaskRequest) async -> any TaskStreaming
    /// Every model that this node has heard of, sorted by name.
    func catalogue() async -> [ModelSummaryDocument]
    func peers() async -> PeersDocument
    /// All offers held, or those of one canonical model name.
    func offers(model: String?) async -> OffersDocument
    /// By id or a unique prefix of at least six characters; nil: unknown, or forgotten.
    func task(_ idOrPrefix: String) async -> TaskDocument?
    func status() async -> StatusDocument
    /// No new work; what runs finishes.
    func pause() async
    func resume() async
    /// By node id, a unique prefix of at least eight characters of it, public key, or label; nil: nobody, or several.
    func resolve(node: String) async -> PublicKey?
}

/// One task's output on its way to a client: one reader.
public protocol TaskStreaming: Sendable {
    var id: TaskID { get }
    /// Everything that is buffered, at once when there is something, in order; nil after the last event and after
    /// `cancel`. Empty only after `wake`. Cancelling the waiting Swift task cancels the stream.
    func next() async -> [ClientEvent]?
    /// Tells that so many bytes (`ClientEvent.bytes`) have left for the client: the source may go on.
    func consumed(_ bytes: Int)
    /// Lets a waiting `next()` (or the coming one) return at once, perhaps with nothing: the reader has a timer.
    func wake()
    /// The client has gone. Any thread, any time, any number of times; after the last event it does nothing.
    func cancel()
}

extension ClientEvent {
    /// What the event weighs in flow control.
    public var bytes: Int {
        switch self {
        case .delta(let text, _, let extra): text.count + extra.count
        case .awarded, .progress, .finished, .failed: 0
        }
    }

    /// Nothing comes after it.
    public var isFinal: Bool {
        switch self {
        case .finished, .failed: true
        case .awarded, .delta, .progress: false
        }
    }
}
