import Primitives

/// The answer of every backend to a prompt: a text that depends only on the prompt and the position, so that
/// any worker can continue where another stopped and every byte can be checked. Tokens differ in length, and
/// some are not ASCII.
struct ScriptedAnswer {
    private static let words: [[UInt8]] = [
        "the ", "mesh ", "answers ", "slowly ", "a", "b", " ", ", ", ".\n", "Ünïcode ", "星", "椋鳥", "🐦", "— ",
        "naïve ",
        "quick ", "brown ", "starling", "s ", "murmur", "ation ", "over ", "fields ", "of ", "wheat ", "at ",
        "dusk ",
        "every ", "bird ", "follows ", "seven ", "others ",
    ].map { Array($0.utf8) }

    let key: UInt64
    let tokens: Int

    func token(_ index: Int) -> [UInt8] {
        var digest = TraceDigest()
        digest.mix(key)
        digest.mix(index)
        return Self.words[Int(digest.value % UInt64(Self.words.count))]
    }

    func text(_ range: Range<Int>) -> [UInt8] {
        var text: [UInt8] = []
        for index in range { text += token(index) }
        return text
    }

    /// The index of the token that follows `delivered`; nil when those bytes are not a prefix of this answer.
    func position(after delivered: [UInt8]) -> Int? {
        var offset = 0
        for index in 0...tokens {
            if offset == delivered.count { return index }
            guard index < tokens else { break }
            let next = token(index)
            guard offset + next.count <= delivered.count,
                delivered[offset..<offset + next.count].elementsEqual(next)
            else { return nil }
            offset += next.count
        }
        return nil
    }

    // MARK: As a request's body

    var body: [UInt8] { Array("{\"key\":\(key),\"tokens\":\(tokens)}".utf8) }

    /// The same with blanks at its end, so that it has `size` bytes.
    func body(of size: Int) -> [UInt8] {
        let body = body
        return body + [UInt8](repeating: 32, count: max(0, size - body.count))
    }

    init(key: UInt64, tokens: Int) {
        self.key = key
        self.tokens = tokens
    }

    init?(body: [UInt8]) {
        let numbers = body.split { !(48...57).contains($0) }.compactMap {
            UInt64(String(decoding: $0, as: UTF8.self))
        }
        guard numbers.count == 2, numbers[1] <= 1_000_000 else { return nil }
        self.init(key: numbers[0], tokens: Int(numbers[1]))
    }
}
