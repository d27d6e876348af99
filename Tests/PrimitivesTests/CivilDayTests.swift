import Primitives
import Testing

@Suite struct CivilDayTests {
    @Test(arguments: [
        ("1970-01-01", 0 as Int64), ("2000-03-01", 11_017), ("2024-02-29", 19_782), ("2026-11-28", 20_785),
        ("9999-12-31", 2_932_896),
    ])
    func daysAreCountedFrom1970(text: String, day: Int64) {
        #expect(CivilDay.parse(text) == day)
    }

    @Test(arguments: [
        "", "1969-12-31", "2026-13-01", "2026-02-29", "2026-1-1", "2026-00-10", "+026-01-01", "a-b-c",
    ])
    func anythingElseIsNoDay(text: String) { #expect(CivilDay.parse(text) == nil) }
}
