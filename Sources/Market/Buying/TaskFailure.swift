import Primitives
import Wire

/// Why a task ended without its answer, or without the rest of it.
public struct TaskFailure: Error, Sendable {
    public var reason: Reason
    /// A sentence for the client that names the cause and the fix.
    public var message: String
    public var known: Int = 0
    public var asked: Int = 0
    public var bids: Int = 0
    /// One entry a filter, in the order of `Reason.filters`; the counts add up to `known`.
    public var reasons: [(reason: Reason, nodes: Int)] = []
    public var nearest: NearestOffer?
    /// Models that are available instead, with their lowest output price.
    public var alternatives: [(model: String, outputPrice: Int64)] = []
    public var largestContext: UInt32?
    public var retryAfter: Interval?
    /// What had been delivered, and its cost; nil: nothing.
    public var delivered: TaskSummary?

    public init(_ reason: Reason, message: String) {
        self.reason = reason
        self.message = message
    }
}

/// The seller that would have been acceptable with the smallest change, and the change.
public struct NearestOffer: Sendable {
    public var worker: PublicKey
    public var name: String
    /// A preference's path and the value that would suffice: ("provider.max_price.completion", 1 600 000).
    public var parameter: String
    public var value: Int64
    public init(worker: PublicKey, name: String, parameter: String, value: Int64) {
        self.worker = worker
        self.name = name
        self.parameter = parameter
        self.value = value
    }
}

extension PublicKey {
    /// A node in a sentence for people, as commands show it too: in quotes the label that it gives itself, which proves
    /// nothing, and the id that does.
    public func inWords(label: String) -> String {
        let id = NodeID(of: self).short
        return label.isEmpty ? id : "\(Printable.quoted(label)) \(id)"
    }
}
