import OpenAIFormat
import Primitives

/// One task for a model server.
public struct JobRequest: Sendable {
    /// Chosen by the caller; unique among the backend's running jobs.
    public var id: JobID
    public var kind: InferenceKind
    /// The client's JSON, unfiltered.
    public var body: [UInt8]
    /// Text that the client already has from an earlier attempt, UTF-8.
    public var delivered: [UInt8]
    /// What is left of the token limit; nil if the client stated none (a limit in `body` still holds).
    public var maxTokens: UInt32?
    public var deadline: MonotonicTime

    public init(
        id: JobID, kind: InferenceKind, body: [UInt8], delivered: [UInt8] = [], maxTokens: UInt32? = nil,
        deadline: MonotonicTime = .never
    ) {
        self.id = id
        self.kind = kind
        self.body = body
        self.delivered = delivered
        self.maxTokens = maxTokens
        self.deadline = deadline
    }
}

extension JobRequest {
    /// The request as the server gets it.
    func filtered(_ options: WorkerRequest.Options) throws(BackendFailure) -> WorkerRequest {
        do throws(WorkerRequestError) {
            return try WorkerRequest(
                kind, body: body, delivered: delivered, maxTokens: maxTokens, options: options)
        } catch {
            switch error {
            case .malformed(let words): throw BackendFailure(.invalidRequest, words)
            case .cannotContinue(let words): throw BackendFailure(.cannotContinue, words)
            }
        }
    }
}

/// The events of a job, in order: `started` at most once, then pieces, then exactly one of `finished` and
/// `failed`. `progress` comes before the first piece, if at all. After a cancellation there are none.
public enum BackendEvent: Sendable, Hashable {
    /// The server accepted the task; the first token is still to come.
    case started
    /// Whole tokens and whole UTF-8 characters.
    case text([UInt8], tokens: Int)
    /// The server's `choices` as JSON, when they hold more than text.
    case complex([UInt8], tokens: Int)
    /// What the server does while it sends nothing, as it says itself.
    case progress(JobProgress)
    case finished(JobFinish)
    case failed(BackendFailure)
}

/// What a model server is known to do before the first token. Nothing is guessed.
public enum JobProgress: Sendable, Hashable {
    /// Other work comes first; an estimate of the milliseconds until it is done, 0 if unknown.
    case queued(milliseconds: UInt32)
    case loading
    /// Tokens of this prompt that have been read.
    case prefill(tokens: UInt32)
}

/// The end of a successful job.
public struct JobFinish: Sendable, Hashable {
    /// OpenAI's `finish_reason`; `stop` for an embedding.
    public var reason: String
    /// The server's own count, or ours if it gave none.
    public var usage: BackendUsage
    /// The whole answer as JSON for an embedding, else empty.
    public var extra: [UInt8]
    /// Request fields that were not passed on to the server.
    public var droppedFields: [String]
    public init(reason: String, usage: BackendUsage, extra: [UInt8] = [], droppedFields: [String] = []) {
        self.reason = reason
        self.usage = usage
        self.extra = extra
        self.droppedFields = droppedFields
    }
}

/// Why a job failed. The message may be shown to the client; it holds no prompt, path or address of this
/// node.
public struct BackendFailure: Error, Sendable, Hashable {
    public enum Code: String, Sendable {
        /// All slots are taken, or the server says that it is busy.
        case busy = "backend_busy"
        /// The backend is known to be down.
        case down = "backend_down"
        case unreachable = "backend_unreachable"
        /// The server answered with an error.
        case error = "backend_error"
        /// The server refuses our key.
        case unauthorized = "backend_unauthorized"
        /// The server doesn't know the model.
        case modelMissing = "backend_model_missing"
        case closedEarly = "backend_closed_early"
        case garbage = "backend_garbage"
        case oversized = "backend_oversized"
        /// No first byte, or no further token, within the limit.
        case hung = "backend_hung"
        case contextExceeded = "context_length_exceeded"
        /// The server's filter refuses the request or its answer.
        case contentFilter = "content_filter"
        case invalidRequest = "invalid_request"
        case cannotContinue = "cannot_continue"
        case deadlineExceeded = "deadline_exceeded"
    }
    public var code: Code
    public var message: String
    /// When a busy server wants to be asked again; nil: it didn't say.
    public var retryAfter: Interval?
    /// The context that was exceeded, where the server states it.
    public var contextMax: UInt32?

    public init(
        _ code: Code, _ message: String, retryAfter: Interval? = nil, contextMax: UInt32? = nil
    ) {
        self.code = code
        self.message = message
        self.retryAfter = retryAfter
        self.contextMax = contextMax
    }

    static let unauthorized = BackendFailure(
        .unauthorized, "The model server refuses the node's key: set api_key to one that it takes.")

    static func untrusted(_ words: String) -> BackendFailure {
        BackendFailure(
            .unreachable,
            "The model server's certificate can't be checked: set ca_file to the certificate that signs it (\(words))."
        )
    }

    /// Whether another worker may succeed with the same task.
    public var isRetryable: Bool {
        switch code {
        case .invalidRequest, .deadlineExceeded, .contextExceeded, .contentFilter: false
        default: true
        }
    }

    /// Whether the request may be the reason why its answer broke: only a trial shows that the server is ill.
    var mayBeTheRequests: Bool {
        switch code {
        case .error, .closedEarly, .garbage, .oversized: true
        case .busy, .down, .unreachable, .unauthorized, .modelMissing, .hung, .contextExceeded,
            .contentFilter, .invalidRequest, .cannotContinue, .deadlineExceeded:
            false
        }
    }

    /// Whether the failure shows that the backend is unhealthy, rather than that the request is bad.
    var blamesBackend: Bool {
        switch code {
        case .busy, .down, .contextExceeded, .contentFilter, .invalidRequest, .cannotContinue,
            .deadlineExceeded:
            false
        case .unreachable, .error, .unauthorized, .modelMissing, .closedEarly, .garbage, .oversized, .hung:
            true
        }
    }
}
