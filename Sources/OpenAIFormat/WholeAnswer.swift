// The answer to a client that doesn't stream: workers always stream, so their deltas are joined here.

/// Collects the deltas of an answer.
public struct WholeAnswer: Sendable {
    /// Bytes of an answer; a longer one is aborted.
    public static let bytesMax = 32 << 20

    fileprivate struct Choice {
        var index: UInt64
        var text: [UInt8] = []
        /// The message without its content: role, tool calls, reasoning.
        var message = GrowingJSON(.object([]))
        var logprobs = GrowingJSON(.null)
        var reason: String?
    }
    private var choices: [Choice] = []
    private var calls = ToolCallIndices()
    /// Of text and JSON collected so far.
    public private(set) var bytes = 0

    public init() {}

    /// Appends plain text of the only choice. Returns false when the answer becomes too long.
    public mutating func append(text: [UInt8]) -> Bool {
        bytes += text.count
        guard bytes <= Self.bytesMax else { return false }
        guard let position = position(of: 0) else { return false }
        choices[position].text.append(contentsOf: text)
        return true
    }

    /// Appends the backend's `choices`, as a worker passed them on. Returns false when they are not a list of
    /// choices, or the answer becomes too long.
    public mutating func append(choices json: [UInt8]) -> Bool {
        bytes += json.count
        guard bytes <= Self.bytesMax, let elements = (try? JSONTree(parsing: json))?.elements else {
            return false
        }
        for element in calls.renumber(elements) {
            guard let members = element.members, let position = position(of: element["index"]?.whole ?? 0)
            else { return false }
            for member in members { choices[position].merge(member) }
        }
        return true
    }

    /// Nil for one choice too many.
    private mutating func position(of index: UInt64) -> Int? {
        if let found = choices.firstIndex(where: { $0.index == index }) { return found }
        guard choices.count < ClientRequest.choicesMax else { return nil }
        choices.append(Choice(index: index))
        return choices.count - 1
    }

    /// What was done to merge the pieces, for tests.
    var steps: Int { choices.reduce(0) { $0 + $1.message.steps + $1.logprobs.steps } }

    /// The body of the response.
    public func body(_ identity: AnswerIdentity, reason: String, usage: Usage) -> [UInt8] {
        let isChat = identity.kind == .chat
        let silent = (0..<max(1, UInt64(identity.choices))).filter { index in
            !choices.contains { $0.index == index }
        }
        let all = (choices + silent.map { Choice(index: $0) }).sorted { $0.index < $1.index }
        var members = identity.head(object: isChat ? "chat.completion" : "text_completion")
        members.append(.init("choices", .array(all.map { $0.json(isChat: isChat, reason: reason) })))
        members.append(.init("usage", usage.json))
        members.append(.init("starling", usage.starling))
        return JSONTree.object(members).bytes
    }
}

extension WholeAnswer.Choice {
    fileprivate mutating func merge(_ member: JSONTree.Member) {
        switch member.key {
        case "index": break
        case "finish_reason": if let text = member.value.text, text.isFinishReason { reason = text }
        case "text": if let more = member.value.text { text.append(contentsOf: more.utf8) }
        case "logprobs": logprobs.merge(member.value)
        case "delta":
            for part in member.value.members ?? [] {
                if part.key == "content", let more = part.value.text {
                    text.append(contentsOf: more.utf8)
                } else if part.key == "content", let parts = part.value.elements {
                    for more in parts { text.append(contentsOf: (more["text"]?.text ?? "").utf8) }
                } else if part.key != "content" {
                    message.merge(.object([part]))
                }
            }
        default: break
        }
    }

    fileprivate func json(isChat: Bool, reason fallback: String) -> JSONTree {
        let end = JSONTree.string(reason ?? (fallback.isEmpty ? "stop" : fallback))
        let content = String(decoding: text, as: UTF8.self)
        guard isChat else {
            return .object([
                .init("index", .number(String(index))), .init("text", .string(content)),
                .init("logprobs", logprobs.tree),
                .init("finish_reason", end),
            ])
        }
        let rest = (message.tree.members ?? []).filter { $0.key != "role" }
        let silent = text.isEmpty && rest.contains { $0.key == "tool_calls" }
        var parts: [JSONTree.Member] = [
            .init("role", .string("assistant")), .init("content", silent ? .null : .string(content)),
        ]
        if !rest.contains(where: { $0.key == "refusal" }) { parts.append(.init("refusal", .null)) }
        parts += rest.map { .init($0.key, $0.key == "tool_calls" ? $0.value.withoutIndices : $0.value) }
        return .object([
            .init("index", .number(String(index))), .init("message", .object(parts)),
            .init("logprobs", logprobs.tree),
            .init("finish_reason", end),
        ])
    }
}

extension JSONTree {
    /// A list of objects without `index`, which only streams have.
    fileprivate var withoutIndices: JSONTree {
        guard let elements else { return self }
        return .array(elements.map { .object(($0.members ?? []).filter { $0.key != "index" }) })
    }
}
