/// What a list of a stream's `choices` says to the client that gets it. A worker's word for its content is not enough: a
/// list without a word would pass as an answer, be paid for, and keep other workers from being asked; and what isn't
/// the shape that OpenAI's API documents makes its clients fail.
public enum ChoicesContent: Equatable, Sendable {
    /// Not a list of choices, or one that no client can have asked for, or whose known members have another type than
    /// they are documented with.
    case malformed
    /// No choice says anything: roles, reasons to end, log-probabilities or unknown members.
    case none
    /// Bytes of UTF-8 that are said, without JSON's escapes: of a chat the strings of `delta` in `content`, `refusal`,
    /// `reasoning`, `reasoning_content`, `thinking` and `audio`, and the names and arguments of calls; of a completion
    /// `text`.
    case some(bytes: Int)

    /// Called once a token on the loop's thread, where answers have log-probabilities: scanned in one pass, and
    /// only what is unusual is parsed into a tree.
    /// - Parameters:
    ///   - isChat: of a completion's choices only `text` says something.
    ///   - choices: how many the request asks for; no more than 128 count.
    public init(of json: [UInt8], isChat: Bool = true, choices: UInt32 = .max) {
        let most = Int(min(max(1, choices), UInt32(ClientRequest.choicesMax)))
        self =
            json.withUnsafeBufferPointer { ChoicesScanner.scan($0, isChat: isChat, choices: most) }
            ?? Self(parsing: json, isChat: isChat, choices: most)
    }

    init(said bytes: Int) { self = bytes > 0 ? .some(bytes: bytes) : .none }

    /// 0 for what says nothing.
    public var bytes: Int { if case .some(let bytes) = self { bytes } else { 0 } }

    /// Calls that one message may hold.
    static let callsMax = 128
    /// Bytes of a reason to end.
    static let reasonMax = 32

    static func isReason(_ text: some Collection<UInt8>) -> Bool {
        text.count <= reasonMax && text.allSatisfy { $0 &- 0x61 < 26 || $0 == UInt8(ascii: "_") }
    }

    /// Whether a number's digits are an index: whole, without sign, point or exponent.
    static func isIndex(_ digits: some Collection<UInt8>, below limit: Int) -> Bool {
        guard digits.count <= 3, digits.allSatisfy({ $0 &- 0x30 < 10 }) else { return false }
        return digits.reduce(0) { $0 * 10 + Int($1 - 0x30) } < limit
    }
}

// MARK: - By a tree

extension ChoicesContent {
    /// The same by a tree, at some twenty times the cost.
    init(parsing json: [UInt8], isChat: Bool, choices most: Int) {
        guard let choices = (try? JSONTree(parsing: json))?.elements, choices.count <= most else {
            self = .malformed
            return
        }
        let said = Self.sum(choices) { choice in
            Self.sum(choice) { Self.member($0, isChat: isChat, choices: most) }
        }
        self = said.map { Self(said: $0) } ?? .malformed
    }

    /// Each of these is nil for what is malformed.
    private static func member(_ member: JSONTree.Member, isChat: Bool, choices: Int) -> Int? {
        switch member.key {
        case "index": index(member.value, below: choices)
        case "text": text(member.value).map { isChat ? 0 : $0 }
        case "delta":
            member.value.isNull ? 0 : sum(member.value, inDelta).map { isChat ? $0 : 0 }
        case "finish_reason":
            member.value.isNull || member.value.text.map { isReason($0.utf8) } == true ? 0 : nil
        case "logprobs": member.value.isNull || Logprobs.isWellFormed(member.value) ? 0 : nil
        default: 0
        }
    }

    private static func inDelta(_ member: JSONTree.Member) -> Int? {
        let value = member.value
        guard !value.isNull else { return 0 }
        switch member.key {
        case "content":
            return value.elements.map { parts in
                sum(parts) { $0.members == nil ? nil : strings($0) }
            } ?? text(value)
        case "refusal", "reasoning", "reasoning_content", "thinking": return text(value)
        case "role": return value.text == "assistant" ? 0 : nil
        case "tool_calls": return value.elements.flatMap { sum($0) { sum($0, inCall) } }
        case "function_call": return sum(value, inFunction)
        case "audio": return value.members == nil ? nil : strings(value)
        default: return 0
        }
    }

    private static func inCall(_ member: JSONTree.Member) -> Int? {
        switch member.key {
        case "index": index(member.value, below: callsMax)
        case "id", "type": text(member.value).map { _ in 0 }
        case "function": member.value.isNull ? 0 : sum(member.value, inFunction)
        default: 0
        }
    }

    private static func inFunction(_ member: JSONTree.Member) -> Int? {
        member.key == "name" || member.key == "arguments" ? text(member.value) : 0
    }

    private static func index(_ value: JSONTree, below limit: Int) -> Int? {
        guard case .number(let digits) = value, isIndex(digits.utf8, below: limit) else { return nil }
        return 0
    }

    private static func text(_ value: JSONTree) -> Int? { value.isNull ? 0 : value.text?.utf8.count }

    private static func sum(_ object: JSONTree, _ said: (JSONTree.Member) -> Int?) -> Int? {
        object.members.flatMap { sum($0, said) }
    }

    private static func sum<Element>(_ elements: [Element], _ said: (Element) -> Int?) -> Int? {
        var sum = 0
        for element in elements {
            guard let bytes = said(element) else { return nil }
            sum += bytes
        }
        return sum
    }

    /// Bytes of all strings in it. The parser bounds its depth.
    private static func strings(_ value: JSONTree) -> Int {
        switch value {
        case .string(let text): text.utf8.count
        case .array(let elements): elements.reduce(0) { $0 + strings($1) }
        case .object(let members): members.reduce(0) { $0 + strings($1.value) }
        case .number, .bool, .null: 0
        }
    }
}
