// A streamed answer as server-sent events, written by hand: the constant parts of a chunk are made once per
// stream.

import Primitives

/// What all chunks or bodies of one answer share.
public struct AnswerIdentity: Hashable, Sendable {
    public var kind: ClientRequest.Kind
    /// `chatcmpl-` or `cmpl-`, followed by the task's id.
    public var id: String
    /// Seconds since 1970.
    public var created: Int64
    /// The model as the client named it.
    public var model: String
    /// How many the client asked for: each is in the answer, also one that says nothing.
    public var choices: UInt32

    public init(
        kind: ClientRequest.Kind, task: String, created: Int64, model: String, choices: UInt32 = 1
    ) {
        self.kind = kind
        id = (kind == .chat ? "chatcmpl-" : "cmpl-") + task
        self.created = created
        self.model = model
        self.choices = min(choices, UInt32(ClientRequest.choicesMax))
    }

    /// The members that precede `choices`.
    func head(object: String) -> [JSONTree.Member] {
        [
            .init("id", .string(id)), .init("object", .string(object)),
            .init("created", .number(String(created))),
            .init("model", .string(model)),
        ]
    }
}

/// Writes the chunks of one stream.
public struct StreamChunks: Sendable {
    private let isChat: Bool
    private let beforeChoices: [UInt8]
    private let beforeText: [UInt8]
    private let afterText: [UInt8]
    private let afterChoices: [UInt8]
    private let includeUsage: Bool
    private let asked: UInt64
    private var begun = false
    /// Choices for which the backend has already sent a finish reason.
    private var finished: [UInt64] = []
    private var seen: [UInt64] = []
    /// Choices whose role has been told.
    private var introduced: [UInt64] = []
    private var calls = ToolCallIndices()

    public init(_ identity: AnswerIdentity, includeUsage: Bool) {
        isChat = identity.kind == .chat
        self.includeUsage = includeUsage
        asked = UInt64(identity.choices)
        var head = JSONTree.object(
            identity.head(object: isChat ? "chat.completion.chunk" : "text_completion")
        ).bytes
        head.removeLast()
        beforeChoices = Array("data: ".utf8) + head + Array(",\"choices\":".utf8)
        afterChoices = Array(((includeUsage ? ",\"usage\":null" : "") + "}\n\n").utf8)
        let text = isChat ? "[{\"index\":0,\"delta\":{\"content\":\"" : "[{\"index\":0,\"text\":\""
        beforeText = beforeChoices + Array(text.utf8)
        afterText =
            Array((isChat ? "\"}" : "\"").utf8) + Array(",\"logprobs\":null,\"finish_reason\":null}]".utf8)
            + afterChoices
    }

    /// Writes the role of the first choice, once; nothing for a completion.
    private mutating func begin(to out: inout [UInt8]) {
        guard !begun else { return }
        begun = true
        seen.append(0)
        introduced.append(0)
        guard isChat else { return }
        out.append(contentsOf: beforeChoices)
        out.append(
            contentsOf: """
                [{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]
                """.utf8)
        out.append(contentsOf: afterChoices)
    }

    /// Writes one chunk of plain text.
    public mutating func text(_ text: [UInt8], to out: inout [UInt8]) {
        begin(to: &out)
        guard !text.isEmpty else { return }
        out.append(contentsOf: beforeText)
        JSONText.appendEscaped(text, to: &out)
        out.append(contentsOf: afterText)
    }

    /// Writes one chunk that holds more than text: the backend's `choices`, as a worker passed them on.
    /// Returns false and writes nothing when they are not a list of objects.
    public mutating func choices(_ json: [UInt8], to out: inout [UInt8]) -> Bool {
        guard let choices = (try? JSONTree(parsing: json))?.elements,
            choices.allSatisfy({ $0.members != nil })
        else { return false }
        let isIntroduction = choices.contains {
            ($0["index"]?.whole ?? 0) == 0 && $0["delta"]?["role"] != nil
        }
        if isIntroduction { begun = true } else { begin(to: &out) }
        var whole: [JSONTree] = []
        for choice in calls.renumber(choices) {
            let index = choice["index"]?.whole ?? 0
            whole.append(completed(withText(withRoleOnce(choice, index))))
            if !seen.contains(index), seen.count < ClientRequest.choicesMax { seen.append(index) }
            if choice["finish_reason"]?.text?.isFinishReason ?? false, !finished.contains(index),
                finished.count < ClientRequest.choicesMax
            {
                finished.append(index)
            }
        }
        out.append(contentsOf: beforeChoices)
        JSONTree.array(whole).write(to: &out)
        out.append(contentsOf: afterChoices)
        return true
    }

    /// Some servers write a piece of text as a list of parts; clients add up texts.
    private func withText(_ choice: JSONTree) -> JSONTree {
        guard let parts = choice["delta"]?["content"]?.elements else { return choice }
        let text = parts.map { $0["text"]?.text ?? "" }.joined()
        return choice.replacing("delta") { $0.replacing("content") { _ in .string(text) } }
    }

    /// Some servers repeat the role, and some SDKs append it to the first.
    private mutating func withRoleOnce(_ choice: JSONTree, _ index: UInt64) -> JSONTree {
        guard let delta = choice["delta"]?.members, delta.contains(where: { $0.key == "role" }) else {
            return choice
        }
        guard introduced.contains(index) else {
            if introduced.count < ClientRequest.choicesMax { introduced.append(index) }
            return choice
        }
        let rest = JSONTree.object(delta.filter { $0.key != "role" })
        return .object((choice.members ?? []).map { $0.key == "delta" ? .init("delta", rest) : $0 })
    }

    /// A choice with the members that clients read without asking whether they are there.
    private func completed(_ choice: JSONTree) -> JSONTree {
        let needed: [JSONTree.Member] = [
            .init("index", .number("0")),
            isChat ? .init("delta", .object([])) : .init("text", .string("")), .init("finish_reason", .null),
        ]
        let missing = needed.filter {
            guard let value = choice[$0.key] else { return true }
            return value.isNull && !$0.value.isNull
        }
        guard !missing.isEmpty else { return choice }
        let kept = (choice.members ?? []).filter { member in !missing.contains { $0.key == member.key } }
        return .object(kept + missing)
    }

    /// Ends every choice that has not ended yet, and writes the bill if it was asked for.
    public mutating func finish(reason: String, usage: Usage, to out: inout [UInt8]) {
        begin(to: &out)
        seen += (0..<max(1, asked)).filter { !seen.contains($0) }
        let open = seen.filter { !finished.contains($0) }
        let reason = JSONTree.string(reason.isEmpty ? "stop" : reason)
        if !open.isEmpty {
            let choices = open.map { index -> JSONTree in
                .object([
                    .init("index", .number(String(index))),
                    isChat ? .init("delta", .object([])) : .init("text", .string("")),
                    .init("logprobs", .null), .init("finish_reason", reason),
                ])
            }
            out.append(contentsOf: beforeChoices)
            JSONTree.array(choices).write(to: &out)
            out.append(contentsOf: afterChoices)
        }
        if includeUsage {
            out.append(contentsOf: beforeChoices)
            out.append(contentsOf: "[],\"usage\":".utf8)
            usage.json.write(to: &out)
            out.append(contentsOf: ",\"starling\":".utf8)
            usage.starling.write(to: &out)
            out.append(contentsOf: "}\n\n".utf8)
        }
        out.append(contentsOf: "data: [DONE]\n\n".utf8)
    }

    /// Writes a failure after the stream has begun. The stream then ends without `[DONE]`.
    public static func error(_ error: ErrorBody, to out: inout [UInt8]) {
        out.append(contentsOf: "data: ".utf8)
        error.json.write(to: &out)
        out.append(contentsOf: "\n\n".utf8)
    }

    /// Writes a comment line, which clients skip: a sign of life.
    public static func comment(_ text: String, to out: inout [UInt8]) {
        out.append(contentsOf: ": ".utf8)
        out.append(contentsOf: Printable.line(text).utf8)
        out.append(contentsOf: "\n\n".utf8)
    }
}
