import NIOHTTP1

/// All routes, by path.
enum Route: Equatable {
    case page, health, metrics
    case models
    case model(String)
    case chat, completion, embedding
    case quote
    case peers, offers, status, pause, resume, price, usage, ledger, settle
    case task(String)

    init?(path: String) {
        let path = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
        switch path {
        case "/", "": self = .page
        case "/health": self = .health
        case "/metrics": self = .metrics
        case "/v1/models": self = .models
        case "/v1/chat/completions": self = .chat
        case "/v1/completions": self = .completion
        case "/v1/embeddings": self = .embedding
        case "/mesh/quote": self = .quote
        case "/mesh/peers": self = .peers
        case "/mesh/offers": self = .offers
        case "/mesh/status": self = .status
        case "/mesh/pause": self = .pause
        case "/mesh/resume": self = .resume
        case "/mesh/price": self = .price
        case "/mesh/usage": self = .usage
        case "/mesh/ledger": self = .ledger
        case "/mesh/settle": self = .settle
        default:
            // A model's name may contain slashes.
            if let name = Self.rest(of: path, after: "/v1/models/") {
                self = .model(name)
            } else if let id = Self.rest(of: path, after: "/mesh/tasks/"), !id.contains("/") {
                self = .task(id)
            } else {
                return nil
            }
        }
    }

    private static func rest(of path: String, after prefix: String) -> String? {
        guard path.hasPrefix(prefix), path.utf8.count > prefix.utf8.count else { return nil }
        return String(path.dropFirst(prefix.count)).removingPercentEscapes
    }

    /// Allowed methods, without OPTIONS. HEAD is allowed wherever GET is.
    var methods: [HTTPMethod] {
        switch self {
        case .chat, .completion, .embedding, .quote, .pause, .resume, .price, .settle: [.POST]
        case .page, .health, .metrics, .models, .model, .peers, .offers, .status, .task, .usage, .ledger:
            [.GET, .HEAD]
        }
    }

    var allow: String { (methods + [.OPTIONS]).map(\.rawValue).joined(separator: ", ") }

    /// Whether it becomes a task, or the quote of one, made from the request's body.
    var takesTask: Bool {
        switch self {
        case .chat, .completion, .embedding, .quote: true
        case .page, .health, .metrics, .models, .model, .peers, .offers, .status, .pause, .resume, .price,
            .task, .usage, .ledger, .settle:
            false
        }
    }

    /// Whether the request's body is read; of others it is dropped.
    var takesBody: Bool { takesTask || self == .price || self == .settle }

    /// Whether a client's key opens it, and not the owner's alone.
    var isForClients: Bool {
        switch self {
        case .page, .health, .models, .model, .chat, .completion, .embedding, .quote, .usage: true
        case .metrics, .peers, .offers, .status, .pause, .resume, .price, .task, .ledger, .settle: false
        }
    }

    /// Whether a configured API key is required. The page holds no data; what it fetches does.
    var needsKey: Bool { self != .page && self != .health }
}

extension String {
    /// Decodes `%2F` and the like; nil when malformed or not UTF-8.
    var removingPercentEscapes: String? {
        guard utf8.contains(UInt8(ascii: "%")) else { return self }
        var bytes: [UInt8] = []
        var rest = Array(utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard rest.count >= 2,
                let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            else {
                return nil
            }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}
