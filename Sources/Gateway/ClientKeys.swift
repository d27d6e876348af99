// API keys of clients: what each opens, and until when. They may change while the node runs.

import Cryptography
import Market
import NIOHTTP1
import OpenAIFormat
import Primitives
import Synchronization

/// One client's API key.
public struct ClientKey: Sendable {
    public var name: String
    /// SHA-256 of the key.
    public var digest: Bytes32
    /// Canonical names of the models that it may ask; empty: all.
    public var models: [String]
    /// Nil: it stays valid.
    public var expires: WallTime?

    public init(name: String, digest: Bytes32, models: [String] = [], expires: WallTime? = nil) {
        (self.name, self.digest, self.models, self.expires) = (name, digest, models, expires)
    }

    public static func digest(of key: some Collection<UInt8>) -> Bytes32 {
        let hash = Sha256Stream()
        Array(key).withUnsafeBytes { hash.update($0) }
        return hash.finish()
    }
}

/// Whose request it is.
enum Caller: Sendable {
    /// One of `http.api_keys`, or nobody where none is required.
    case owner
    case client(ClientKey)

    /// As the node counts its usage: empty for the owner.
    var name: String {
        switch self {
        case .owner: ""
        case .client(let key): key.name
        }
    }
}

/// What of the configuration a request is read by, and what a file that is read again may change.
struct AskingTerms: Sendable {
    var apiKeys: [[UInt8]]
    var keys: [ClientKey]
    var preferences: Preferences
    var extraFields: [String]

    init(_ configuration: GatewayConfiguration) {
        apiKeys = configuration.apiKeys.map { Array($0.utf8) }
        keys = configuration.clientKeys
        preferences = configuration.preferences
        extraFields = configuration.extraFields
    }
}

/// The terms that hold now.
final class CurrentTerms: Sendable {
    private let terms: Mutex<AskingTerms>
    init(_ configuration: GatewayConfiguration) { terms = Mutex(AskingTerms(configuration)) }
    var now: AskingTerms { terms.withLock { $0 } }
    func set(_ configuration: GatewayConfiguration) { terms.withLock { $0 = AskingTerms(configuration) } }
}

extension GatewayResponder {
    /// Why a client may not ask these models; nil: it may.
    func refusal(of models: [String], to caller: Caller) -> Response? {
        guard case .client(let key) = caller, !key.models.isEmpty,
            let other = models.first(where: { !key.models.contains($0) })
        else { return nil }
        return Reply.error(
            .invalid(
                "The key \(Printable.quoted(key.name)) may not ask \(other.prefix(100)). It may ask"
                    + " \(Nearest.list(Array(key.models.prefix(8)))).", param: "model",
                code: "model_not_allowed"),
            status: .forbidden)
    }
}
