import NodeConfiguration
import Primitives
import Testing

private let key = PublicKey(Bytes32(1, 2, 3, 4)).description
private let noID = NodeID(.zero)

@Suite struct TermsTests {
    private func settings(_ yaml: String) throws -> NodeSettings {
        try NodeSettings(parsing: yaml, source: .init(file: "node.yaml"), home: "/home/ann")
    }

    private func terms(_ entry: String, names: String = "{}") throws -> TermsSettings {
        let node = try settings("names: \(names)\nserve: [{backend: ollama, model: a, \(entry)}]")
        return try #require(node.serve.first).terms
    }

    private func left(_ hours: String, at clock: String, offset: Int = 0) throws -> Int? {
        let parts = clock.split(separator: ":").compactMap { Int64($0) }
        let time = WallTime(milliseconds: ((20_000 * 24 + parts[0]) * 60 + parts[1]) * 60_000)
        return try #require(DailyHours(hours)).left(at: time, offset: offset)
    }

    @Test func withoutTermsEverybodyIsServedAtOnePrice() throws {
        let terms = try terms("slots: 1")
        #expect(terms.surge == 1_000 && terms.reserve == .zero && terms.quiet.isEmpty)
        #expect(terms.buyerRate == 0 && terms.networkRate == 0 && terms.allow.isEmpty && terms.deny.isEmpty)
    }

    @Test func allTermsAreRead() throws {
        let terms = try terms(
            "price: {output: 2, surge: 1.25, reserve: 0.0005}, quiet: 22:00-08:00, rate: {buyer: 6, network: 30},"
                + " allow: [ada], deny: [7qk4m2xa3b9c]", names: "{ada: \(key)}")
        #expect(terms.surge == 1_250 && terms.reserve == Money(microCredits: 500))
        #expect(terms.quiet.map(\.description) == ["22:00-08:00"])
        #expect(terms.buyerRate == 6 && terms.networkRate == 30)
        #expect(terms.allow.contains(try #require(PublicKey(key)), id: noID))
        #expect(terms.deny.count == 1 && !terms.deny.contains(PublicKey(.zero), id: noID))
    }

    @Test(arguments: [
        ("price: {surge: 0.5}", "serve[0].price.surge", "1.0 to 10.0"),
        ("price: {surge: 11}", "serve[0].price.surge", "1.0 to 10.0"),
        ("price: {reserve: -1}", "serve[0].price.reserve", "credits"),
        ("price: {serge: 2}", "serve[0].price.serge", "`surge`"),
        ("quiet: 25:00-08:00", "serve[0].quiet", "22:00-08:00"),
        ("quiet: [08:00-08:00]", "serve[0].quiet", "22:00-08:00"),
        ("quiet: night", "serve[0].quiet", "this machine's clock"),
        ("rate: {buyer: -1}", "serve[0].rate.buyer", "0 to"),
        ("rate: {buyers: 1}", "serve[0].rate.buyers", "`buyer`"),
        ("allow: [bob]", "serve[0].allow", "`names`"),
        ("deny: [adda]", "serve[0].deny", "did you mean ada?"),
    ])
    func aMistakeIsNamedWithItsKeyAndTheFix(entry: String, path: String, fix: String) throws {
        let error = try #require(throws: ConfigurationError.self) {
            try terms(entry, names: "{ada: \(key)}")
        }
        #expect(error.description.contains(path) && error.fix.contains(fix), "\(error) \(error.fix)")
    }

    @Test func hoursMayGoOverMidnightAndEndBeforeTheirLastMinute() throws {
        #expect(try left("22:00-08:00", at: "21:59") == nil)
        #expect(try left("22:00-08:00", at: "22:00") == 600)
        #expect(try left("22:00-08:00", at: "07:59") == 1)
        #expect(try left("22:00-08:00", at: "08:00") == nil)
        #expect(try left("12:30-13:00", at: "12:45") == 15)
        #expect(try left("12:30-24:00", at: "23:59") == 1)
        #expect(try left("22:00-08:00", at: "21:00", offset: 3_600) == 600, "by the local clock")
        #expect(try left("22:00-08:00", at: "00:30", offset: -7_200) == 570)
    }

    @Test func aChangeKeepsWhatItDoesntStateAndAMistakeChangesNothing() throws {
        let before = try terms("price: {input: 1, output: 2, surge: 2}, quiet: 22:00-08:00")
        let names = try settings("mesh: {}").names
        let change = try TermsChange(
            parsing: #"{"model": "a", "price": {"output": "3"}, "quiet": []}"#, source: "it")
        let after = try change.applied(to: before, names)
        #expect(change.model == "a" && after.outputPrice == 3_000_000 && after.quiet.isEmpty)
        #expect(after.inputPrice == before.inputPrice && after.surge == before.surge)
        for wrong in [#"{"price": {}}"#, #"{"model": "a", "slots": 2}"#, "[1]", "{"] {
            #expect(throws: ConfigurationError.self) { try TermsChange(parsing: wrong, source: "it") }
        }
        let bad = try TermsChange(parsing: #"{"model": "a", "price": {"output": "x"}}"#, source: "it")
        #expect(throws: ConfigurationError.self) { try bad.applied(to: before, names) }
    }

    @Test func whatAFileReadAgainSaysOtherwiseIsNamedByItsKey() throws {
        let old = try settings("name: a\nserve: [{backend: ollama, model: a, price: {output: 1}, slots: 2}]")
        let new = try settings(
            "name: b\nserve: [{backend: ollama, model: a, price: {output: 2, surge: 2}, slots: 3}]\ndeny: []")
        let changes = new.changes(from: old)
        #expect(
            changes == ["deny", "name", "serve[0].price.output", "serve[0].price.surge", "serve[0].slots"])
        #expect(
            changes.filter(NodeSettings.canChange) == ["serve[0].price.output", "serve[0].price.surge"])
        #expect(old.changes(from: old).isEmpty)
    }
}
