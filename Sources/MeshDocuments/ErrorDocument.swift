// Errors in OpenAI's shape, with the explanation of a refusal in `metadata`. The CLI reads this type; the
// gateway writes the JSON by hand, with `message` first.

/// The body of every HTTP error, and of an error event in mid-stream.
public struct ErrorDocument: Codable, Sendable, Equatable {
    public var error: Body

    public init(error: Body) { self.error = error }

    public struct Body: Codable, Sendable, Equatable {
        /// One sentence that names the cause and the fix.
        public var message: String
        public var type: String
        @Nullable public var code: String?
        @Nullable public var param: String?
        /// Omitted when there is nothing to explain.
        public var metadata: Explanation?

        public init(
            message: String, type: String, code: String? = nil, param: String? = nil,
            metadata: Explanation? = nil
        ) {
            self.message = message
            self.type = type
            self.code = code
            self.param = param
            self.metadata = metadata
        }
    }

    /// Which nodes were known, and why none (or no other) answered.
    public struct Explanation: Codable, Sendable, Equatable {
        public struct Nearest: Codable, Sendable, Equatable {
            public var nodeID: String
            public var name: String
            /// The preference to change, and the value that would have sufficed.
            public var change: [String: Double]
            public init(nodeID: String, name: String, change: [String: Double]) {
                self.nodeID = nodeID
                self.name = name
                self.change = change
            }
            enum CodingKeys: String, CodingKey {
                case nodeID = "node_id"
                case name, change
            }
        }

        public struct Alternative: Codable, Sendable, Equatable {
            public var model: String
            /// The lowest output price, in credits per million tokens.
            public var completion: Double
            public init(model: String, completion: Double) {
                self.model = model
                self.completion = completion
            }
        }

        @Nullable public var task: String?
        @Nullable public var model: String?
        @Nullable public var known: Int?
        @Nullable public var asked: Int?
        @Nullable public var bids: Int?
        /// Nodes by the first filter that they failed; the sum is `known`.
        public var reasons: [String: Int]?
        @Nullable public var nearest: Nearest?
        public var alternatives: [Alternative]?
        @Nullable public var retryAfterSeconds: Double?
        /// What had been delivered, and its cost; omitted: nothing.
        public var usage: TaskUsage?

        public init(
            task: String? = nil, model: String? = nil, known: Int? = nil, asked: Int? = nil, bids: Int? = nil,
            reasons: [String: Int]? = nil, nearest: Nearest? = nil, alternatives: [Alternative]? = nil,
            retryAfterSeconds: Double? = nil, usage: TaskUsage? = nil
        ) {
            self.task = task
            self.model = model
            self.known = known
            self.asked = asked
            self.bids = bids
            self.reasons = reasons
            self.nearest = nearest
            self.alternatives = alternatives
            self.retryAfterSeconds = retryAfterSeconds
            self.usage = usage
        }

        enum CodingKeys: String, CodingKey {
            case task, model, known, asked, bids, reasons, nearest, alternatives
            case retryAfterSeconds = "retry_after_s"
            case usage
        }
    }
}
