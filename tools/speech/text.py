# SPDX-License-Identifier: GPL-3.0-or-later
"""Sentences to be spoken: small grammars written for this project (CC0), and pseudo-words for balance.

The grammars are rich in p, b, m, f, v, w, oo and ah on purpose; the pseudo-words break the correlation between a sound
and the words it usually lives in, so that the model learns sounds and not vocabulary. A shelf of proverbs and quotations
in more languages comes from Debian's fortune packages (fetch.py); it is read aloud by the factory and never shipped.
"""

import random
import re
from functools import cache
from pathlib import Path

ENGLISH = {
    "start": (
        "{who} {did} {thing}{tail}.", "{When}, {who} {did} {thing}.", "{who} {did} {thing}, and {who} {did} {thing}.",
        "{Ask} {thing}?", "{Wow}, {who} {did} {thing}!", "Before {who} {did} {thing}, {who} {did} {thing}{tail}.",
        "{Number} {plural} and {number} {plural} were {where}.",
    ),
    "who": (
        "Bob", "Mum", "my father", "Emma", "the plumber", "a brave fireman", "Mister Webb", "Pamela", "our baby", "Oma",
        "the whole family", "my best friend", "Victor", "the old farmer", "everybody", "Lou", "the judge", "she", "he",
        "Peter Piper", "a beautiful woman", "Thomas", "the shepherd", "you", "we", "nobody", "the moon", "Joyce",
    ),
    "did": (
        "bought", "moved", "found", "made", "put away", "pushed", "loved", "wrapped", "opened", "gave away", "forgot",
        "remembered", "showed us", "brought back", "would prefer", "wove", "believed in", "asked about", "jumped over",
        "threw", "painted", "wished for", "watched", "sold", "hid", "heard", "carried", "might save", "can't find",
    ),
    "thing": (
        "the blue boat", "a bowl of soup", "five warm apples", "the broken lamp", "a map of Peru", "my purple umbrella",
        "seven small stones", "the new movie", "a pair of shoes", "the big brown box", "some fresh fish", "her favourite book",
        "a loaf of bread", "the father's farm", "a very fine violin", "the school bus", "his mother's hat", "a cup of tea",
        "the empty room", "the white house", "that awful noise", "an old photograph", "the green valley", "three yellow chairs",
        "the television", "a thousand thoughts", "the judge's job", "a heavy hammer", "the garden path", "good food",
    ),
    "tail": (
        "", "", " before breakfast", " by the pool", " in the park", " at home", " after the show", " in the afternoon",
        " with both hands", " on a Monday", " for a moment", " when the bell rang", " with a smile", " on the roof",
    ),
    "When": ("In the morning", "Last summer", "Every evening", "By the way", "Of course", "After all", "At half past five",
             "Unfortunately", "Once upon a time", "To be honest"),
    "Ask": ("Have you ever seen", "Who took", "Why would anyone buy", "Could you please bring me", "Where did you put",
            "How much is", "Do you remember"),
    "Wow": ("Oh my", "Wow", "Well", "Hmm", "Ah", "No way", "Good heavens", "Please"),
    "Number": ("Four", "Five", "Eleven", "Twelve", "Twenty", "Seventy", "One hundred"),
    "number": ("two", "three", "six", "nine", "forty", "a thousand"),
    "plural": ("bears", "pumpkins", "wolves", "beans", "farmers", "bottles", "shops", "thumbs", "moths", "voices", "jewels"),
    "where": ("in the barn", "above the sea", "from Vermont", "under my bed", "in the shop window", "part of the problem"),
}  # fmt: skip

SPANISH = {
    "start": ("{who} {did} {thing}{tail}.", "{When}, {who} {did} {thing}.", "¿{Ask} {thing}?", "{who} {did} {thing} y {who} {did} {thing}."),
    "who": ("Mamá", "el abuelo", "mi vecina", "Pablo", "la profesora", "un hombre viejo", "Bárbara", "nuestro bebé", "la familia"),
    "did": ("compró", "movió", "abrió", "buscaba", "pintó", "perdió", "puede ver", "bebió", "quiere vender", "encontró"),
    "thing": ("el barco azul", "un mapa de Perú", "una manzana verde", "la puerta", "cinco libros nuevos", "el humo del bosque",
              "una copa de vino", "el jueves pasado", "mucho pan", "la lluvia de abril", "zapatos amarillos"),
    "tail": ("", " en la plaza", " por la mañana", " con su hermano", " después de comer", " en febrero"),
    "When": ("Por la noche", "Ayer", "En verano", "De repente", "Por favor"),
    "Ask": ("Dónde está", "Quién tiene", "Por qué compraste", "Cuánto vale"),
}  # fmt: skip

FRENCH = {
    "start": ("{who} {did} {thing}{tail}.", "{When}, {who} {did} {thing}.", "{Ask} {thing} ?", "{who} {did} {thing} et {who} {did} {thing}."),
    "who": ("Ma mère", "le boulanger", "Pauline", "un vieux monsieur", "mon meilleur ami", "la petite fille", "tout le monde", "Hugo"),
    "did": ("a vu", "voudrait", "a trouvé", "aime beaucoup", "a perdu", "ouvre", "a mangé", "prépare", "a bu", "peut faire"),
    "thing": ("un bateau bleu", "une pomme verte", "du pain frais", "la lune", "un beau bouquet de fleurs", "le fromage blanc",
              "un jeu de cartes", "la fumée", "deux œufs", "une boîte vide", "le grand jardin", "son nouveau vélo"),
    "tail": ("", " avant midi", " dans la cuisine", " avec plaisir", " au mois de juin", " sous la pluie"),
    "When": ("Le matin", "Demain", "Par hasard", "En février", "Bien sûr"),
    "Ask": ("Avez-vous vu", "Où se trouve", "Qui a vendu", "Pourquoi voulez-vous"),
}  # fmt: skip

ITALIAN = {
    "start": ("{who} {did} {thing}{tail}.", "{When}, {who} {did} {thing}.", "{who} {did} {thing} e {who} {did} {thing}."),
    "who": ("Mia madre", "il bambino", "Paolo", "la professoressa", "un uomo", "la famiglia Bianchi", "Giovanna", "il vecchio lupo"),
    "did": ("compra", "vuole", "ha mosso", "apriva", "ha perso", "prepara", "beve", "ha scoperto", "vende"),
    "thing": ("una barca blu", "la pizza", "il vino bianco", "una mela verde", "cinque libri", "la chiave di bronzo",
              "uno specchio", "il formaggio fresco", "gli ombrelli", "la luna piena"),
    "tail": ("", " al mattino", " in piazza", " con gli amici", " dopo la pioggia"),
    "When": ("Domani", "Di sera", "Per favore", "A febbraio", "Una volta"),
}  # fmt: skip

PORTUGUESE = {
    "start": ("{who} {did} {thing}{tail}.", "{When}, {who} {did} {thing}.", "{who} {did} {thing} e {who} {did} {thing}."),
    "who": ("Minha mãe", "o menino", "Pedro", "a vizinha", "um homem velho", "nossa família", "o padeiro", "Beatriz"),
    "did": ("comprou", "abriu", "quer ver", "perdeu", "bebeu", "achou", "vendeu", "pintou", "move"),
    "thing": ("um barco azul", "o mapa do Brasil", "uma maçã verde", "pão fresco", "cinco livros", "a chuva de abril",
              "o chapéu vermelho", "uma boa sopa", "a janela"),
    "tail": ("", " de manhã", " na praça", " com o irmão", " depois do almoço"),
    "When": ("Amanhã", "De noite", "Por favor", "Em fevereiro", "Às vezes"),
}  # fmt: skip

GRAMMARS = {"en-us": ENGLISH, "en-gb": ENGLISH, "es": SPANISH, "fr-fr": FRENCH, "it": ITALIAN, "pt-br": PORTUGUESE}

CONSONANTS = "p b m f v w t d n s z ʃ ʒ ʧ ʤ k ɡ l ɹ j h θ ð p b m f v ŋ".split()
VOWELS = "a ɑ æ ɛ e i ɪ u ʊ o ɔ ʌ ə ɜ u o a i".split()


def sentence(language: str, rng: random.Random) -> str:
    """One sentence of the language's grammar."""
    grammar = GRAMMARS[language]
    text = rng.choice(grammar["start"])
    while "{" in text:
        name = text[text.index("{") + 1 : text.index("}")]
        text = text.replace("{" + name + "}", rng.choice(grammar[name]), 1)
    return text[0].upper() + text[1:]


SHELVES = {
    # language of the voice -> paths below usr/share/games/fortunes
    "en-us": ("wisdom", "literature", "people", "science", "education", "platitudes", "cookie", "miscellaneous", "men-women", "work"),
    "es": ("es/refranes.fortunes", "es/proverbios.fortunes", "es/sabiduria.fortunes", "es/arte.fortunes", "es/ciencia.fortunes"),
    "it": ("it/italia", "it/leggi", "it/luke", "it/computer"), "pt-br": ("brasil",), "cmn": ("chinese", "tang300", "song100"),
    "cs": ("cs/klasik-cz", "cs/prislovi", "cs/citace", "cs/parkinson"), "bg": ("bg/bgauthors", "bg/intauthors", "bg/history"),
    "ga": ("ga/proverbs",),
}  # fmt: skip
BORROWED = {
    # voices of languages without a shelf read a neighbour's text by their own rules: right sounds, foreign words
    "nl": "es", "sv": "it", "tr": "cs", "fi": "it", "ro": "it", "hu": "cs", "id": "es", "sw": "it", "ca": "es", "da": "it",
}  # fmt: skip


SHOUTED = re.compile(r"[A-Z]{3}|\.\.")
CRUDE = re.compile(r"fuck|shit|culo|cazz|put[ao]|merda|mierda|sex|nazi|coglion|jod[ei]", re.I)


@cache
def shelf(folder: Path, language: str) -> tuple[str, ...]:
    """Sentences of 20 to 95 characters (7 to 34 in Chinese) from a language's fortunes, sorted; empty where none were fetched."""
    chinese, found = language == "cmn", set()
    for name in SHELVES.get(BORROWED.get(language, language), ()):
        path = folder / name
        if not path.is_file():
            continue
        raw = path.read_bytes()
        try:
            whole = raw.decode("utf8")
        except UnicodeDecodeError:
            whole = raw.decode("latin1")
        for entry in re.split(r"\n%+\n", whole):
            entry = re.sub(r"\x1b\[\d*m", "", entry)
            entry = re.sub(r"\s+", "" if chinese else " ", re.sub(r"\s--.*", "", entry, flags=re.S)).strip()
            for part in re.split("(?<=[。！？])" if chinese else r"(?<=[.!?])\s+", entry):
                good = re.fullmatch(
                    r"[\u4e00-\u9fff，、；]{7,33}[。！？]"
                    if chinese
                    else r"[^\d_<>\[\]{}|\\/@#*=+~^\"()&%$`:]{19,94}[.!?]",
                    part,
                )
                if good and (chinese or not (SHOUTED.search(part) or CRUDE.search(part))):
                    found.add(part)
    return tuple(sorted(found))


def line(folder: Path, language: str, rng: random.Random) -> str:
    """A sentence in a language: from its grammar or its shelf, half and half where it has both."""
    books = shelf(folder, language)
    if language in GRAMMARS and (not books or rng.random() < 0.5):
        return sentence(language, rng)
    if not books:
        raise SystemExit(f"No text in '{language}' under {folder}: run fetch.py.")
    return rng.choice(books)


ESPEAK_ENGLISH = (
    "p b m f v w t d n s z ʃ ʒ tʃ dʒ k ɡ l ɹ j h θ ð p b m f v ŋ".split(),
    "iː ɪ ɛ æ ɑː ʌ ɔː ʊ uː ə ɜː eɪ aɪ oʊ aʊ ɔɪ uː ɑː æ".split(),
)
"""Consonants and vowels that an American voice of piper knows."""


def pseudo_words(rng: random.Random, letters: tuple[list[str], list[str]] = (CONSONANTS, VOWELS)) -> str:
    """IPA of four to eight made-up words, stressed and with an occasional comma."""
    consonants, vowels = letters
    words = []
    for _ in range(rng.randint(4, 8)):
        syllables = []
        for _ in range(rng.choice((1, 2, 2, 3))):
            onset = rng.choice(consonants) if rng.random() < 0.9 else ""
            coda = rng.choice(consonants) if rng.random() < 0.4 else ""
            length = "ː" if rng.random() < 0.2 else ""
            syllables.append(
                onset.replace("ŋ", "n") + "{}" + rng.choice(vowels) + length + coda.replace("h", "").replace("w", "v")
            )
        stressed = rng.randrange(len(syllables))
        words.append("".join(s.format("ˈ" if i == stressed else "") for i, s in enumerate(syllables)))
        if rng.random() < 0.12:
            words[-1] += ","
    return " ".join(words) + "."
