import Primitives
import Testing

@testable import Simulation

@Suite struct ScriptedAnswerTests {
    @Test("A text goes on at every token boundary and nowhere else")
    func positions() throws {
        let answer = ScriptedAnswer(key: 42, tokens: 40)
        let text = answer.text(0..<40)
        var boundaries: [Int] = []
        for index in 0...40 {
            let delivered = answer.text(0..<index)
            #expect(answer.position(after: delivered) == index)
            boundaries.append(delivered.count)
        }
        for count in 0...text.count where !boundaries.contains(count) {
            #expect(answer.position(after: Array(text.prefix(count))) == nil)
        }
        var changed = answer.text(0..<10)
        changed[0] ^= 1
        #expect(answer.position(after: changed) == nil)
        #expect(answer.position(after: text + [32]) == nil)
    }

    @Test("A prompt's body says what is to be answered")
    func bodies() throws {
        let answer = ScriptedAnswer(key: 7, tokens: 3)
        let read = try #require(ScriptedAnswer(body: answer.body))
        #expect(read.key == 7 && read.tokens == 3)
        #expect(ScriptedAnswer(body: Array("hello".utf8)) == nil)
    }
}

@Suite struct PathAccountsTests {
    private func sent(_ accounts: inout PathAccounts, _ kind: UInt8, _ count: Int) -> Int {
        var bytes = [UInt8](repeating: 0, count: count)
        bytes[0] = kind
        return bytes.withUnsafeBytes { accounts.sent($0, to: 1) }
    }

    private func received(_ accounts: inout PathAccounts, _ kind: UInt8, _ count: Int, genuine: Bool = true) {
        var bytes = [UInt8](repeating: 0, count: count)
        bytes[0] = kind
        bytes.withUnsafeMutableBytes { accounts.received($0, from: 1, isGenuine: genuine) }
    }

    @Test("Answers to an unproven address may weigh what came from there; a proven one gets anything")
    func accounts() {
        var accounts = PathAccounts()
        #expect(sent(&accounts, 1, 400) == 0, "a first message is our own doing")
        #expect(sent(&accounts, 2, 100) == 100, "an answer to nothing")
        received(&accounts, 1, 300)
        #expect(sent(&accounts, 2, 300) == 0)
        #expect(sent(&accounts, 4, 1) == 1)
        received(&accounts, 4, 50, genuine: false)
        #expect(sent(&accounts, 4, 100) == 51)
        received(&accounts, 4, 50)
        #expect(sent(&accounts, 4, 1_000) == 0)
    }
}

@Suite struct DistributionTests {
    @Test("Quantiles are values that occur")
    func quantiles() {
        let hundred = Distribution((1...100).map { Int64($0) }.reversed())
        #expect(hundred.percentile(50) == 50)
        #expect(hundred.percentile(99) == 99)
        #expect(hundred.largest == 100)
        #expect(Distribution([]).percentile(50) == 0)
        #expect(Distribution([5]).percentile(99) == 5)
    }

    @Test("Numbers and chances read as people write them")
    func numbers() {
        #expect(Report.number(1_234_567, unit: 1_000_000, decimals: 2) == "1.23")
        #expect(Report.number(50_000, unit: 1_000_000, decimals: 3) == "0.050")
        #expect(Chance(perMillion: 25_000).description == "2.5%")
        #expect(Chance.percent(2).description == "2%")
    }
}
