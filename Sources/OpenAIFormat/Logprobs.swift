/// The shape that OpenAI's API documents for `logprobs`: `content` and `refusal` of a chat, and four lists of a
/// completion. llama.cpp gives completions the chat's. SDKs hand the lists on as typed values, so that another type
/// fails in the client's own code.
enum Logprobs {
    /// Tokens that might have stood in one place. A request may ask for 20, and servers add the one that was chosen.
    static let topMax = 32

    /// As strict as `ChoicesScanner`, by a tree.
    static func isWellFormed(_ value: JSONTree) -> Bool {
        guard let members = value.members else { return false }
        return members.allSatisfy { isMember($0.key, $0.value) }
    }

    /// Whether a chat's log-probabilities are of a token at least.
    static func hasTokens(_ value: JSONTree) -> Bool {
        isWellFormed(value) && value["content"]?.elements?.isEmpty == false
    }

    private static func isMember(_ key: String, _ value: JSONTree) -> Bool {
        guard !value.isNull else { return true }
        switch key {
        case "content", "refusal": return isList(value) { isToken($0, isOuter: true) }
        case "tokens": return isList(value) { $0.text != nil }
        case "token_logprobs": return isList(value) { $0.isNull || $0.real != nil }
        case "text_offset": return isList(value) { isWhole($0, isOffset) }
        case "top_logprobs":
            return isList(value) { place in
                place.isNull
                    || place.members.map { $0.count <= topMax && $0.allSatisfy { $0.value.real != nil } }
                        ?? false
            }
        default: return true
        }
    }

    private static func isToken(_ value: JSONTree, isOuter: Bool) -> Bool {
        guard value["token"]?.text != nil, value["logprob"]?.real != nil else { return false }
        if let bytes = value["bytes"], !bytes.isNull, !isList(bytes, { isWhole($0, isByte) }) { return false }
        guard isOuter, let top = value["top_logprobs"], !top.isNull else { return true }
        return isList(top, most: topMax) { isToken($0, isOuter: false) }
    }

    private static func isList(
        _ value: JSONTree, most: Int = .max, _ fits: (JSONTree) -> Bool
    ) -> Bool {
        value.elements.map { $0.count <= most && $0.allSatisfy(fits) } ?? false
    }

    private static func isWhole(_ value: JSONTree, _ fits: (String.UTF8View) -> Bool) -> Bool {
        if case .number(let digits) = value { fits(digits.utf8) } else { false }
    }

    static func isByte(_ digits: some Collection<UInt8>) -> Bool {
        ChoicesContent.isIndex(digits, below: 256)
    }

    /// A place in a text: whole, without sign, point or exponent.
    static func isOffset(_ digits: some Collection<UInt8>) -> Bool {
        digits.count <= 10 && digits.allSatisfy { $0 &- 0x30 < 10 }
    }
}

extension JSONTree {
    /// Whether these are a chat's log-probabilities, of a token at least.
    public var isLogprobsOfTokens: Bool { Logprobs.hasTokens(self) }
}
