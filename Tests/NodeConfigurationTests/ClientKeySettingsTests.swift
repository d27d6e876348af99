import NodeConfiguration
import Primitives
import Testing

@Suite struct ClientKeySettingsTests {
    private func settings(_ keys: String, http: String = "{api_keys: [owner]}") throws -> NodeSettings {
        try NodeSettings(
            parsing: "http: \(http)\nask: {credits_per_day: 5, keys: [\(keys)]}",
            source: .init(file: "node.yaml"), home: "/home/ann")
    }

    private static let hash = String(repeating: "0a", count: 32)

    @Test func keysAreRead() throws {
        let ask = try settings(
            "{name: ci, sha256: \(Self.hash), credits_per_day: 0.5, models: [wren-m], expires: 2027-01-31},"
                + " {name: lap, key: a-key-of-sixteen-bytes}"
        ).ask
        #expect(ask.creditsPerDay == Money(microCredits: 5_000_000))
        let (ci, lap) = (ask.keys[0], ask.keys[1])
        #expect(ci.secret == .sha256([UInt8](repeating: 10, count: 32)) && ci.models == ["wren-m"])
        #expect(ci.creditsPerDay == Money(microCredits: 500_000))
        // 2027-02-01T00:00:00Z
        #expect(ci.expires == WallTime(milliseconds: 1_801_440_000_000))
        #expect(lap.secret == .text("a-key-of-sixteen-bytes") && lap.expires == nil && lap.models.isEmpty)
    }

    @Test(arguments: [
        ("1970-01-01", 86_400_000 as Int64), ("2024-02-29", 1_709_251_200_000),
        ("2000-12-31", 978_307_200_000),
        ("2100-03-01", 4_107_628_800_000),
    ])
    func aKeyIsValidToTheEndOfItsLastDay(day: String, end: Int64) throws {
        let key = try settings("{name: a, sha256: \(Self.hash), expires: \(day)}").ask.keys[0]
        #expect(key.expires == WallTime(milliseconds: end))
    }

    @Test(arguments: [
        ("{sha256: \(hash)}", "name: laptop"), ("{name: a}", "sha256sum"),
        ("{name: a, key: short}", "openssl rand"), ("{name: a, sha256: 12}", "sha256sum"),
        ("{name: a, key: a-key-of-sixteen-bytes, sha256: \(hash)}", "sha256"),
        ("{name: a, sha256: \(hash), expires: soon}", "2027-01-31"),
        ("{name: a, sha256: \(hash), expires: 2027-02-29}", "2027-01-31"),
        ("{name: a, sha256: \(hash), models: [Wren M]}", "wren"),
        ("{name: a, sha256: \(hash), credits: 1}", "`credits_per_day`"),
        ("{name: a, sha256: \(hash)}, {name: a, key: a-key-of-sixteen-bytes}", "its own"),
    ])
    func aMistakeIsNamedWithItsFix(keys: String, fix: String) throws {
        let error = try #require(throws: ConfigurationError.self) { try settings(keys) }
        #expect(error.fix.contains(fix), "\(error): \(error.fix)")
    }

    @Test func theOwnerNeedsAKeyTooOrAClientCouldDoWhatIsTheOwners() throws {
        let error = try #require(throws: ConfigurationError.self) {
            try settings("{name: a, sha256: \(Self.hash)}", http: "{}")
        }
        #expect(error.fix.contains("http.api_keys"))
    }
}
