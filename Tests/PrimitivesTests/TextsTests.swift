import Primitives
import Testing

@Suite struct TextsTests {
    @Test(
        arguments: [
            (0.0, 2, "0.00"), (1.005, 1, "1.0"), (12.345, 2, "12.35"), (99.96, 1, "100.0"), (-0.04, 1, "0.0"),
            (-2.5, 0, "-3"), (0.07, 2, "0.07"), (1e12, 3, "1000000000000.000"), (1e300, 2, "1e+300"),
            (.infinity, 1, "inf"), (.nan, 1, "nan"),
        ] as [(Double, Int, String)])
    func numbersAreRoundedToDecimals(number: Double, decimals: Int, text: String) {
        #expect(number.text(decimals: decimals) == text)
    }

    @Test(arguments: [
        ("/a/b/c", "/a/b", "c"), ("/a", "/", "a"), ("a", "", "a"), ("a/", "a", ""), ("", "", ""),
    ])
    func aPathHasAParentAndALastPart(path: String, parent: String, last: String) {
        #expect(path.parentPath == parent && path.lastPathPart == last)
    }

    @Test func aPartOfAURLIsEscaped() {
        #expect("Qwen/a b:ü.9".percentEscaped == "Qwen%2Fa%20b%3A%C3%BC%2E9")
        #expect(" \t x y\r\n".trimmed == "x y" && "".trimmed == "")
    }
}
