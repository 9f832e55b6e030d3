"""A small grammar of everyday sentences: templates, and words by kind. Used by build_sentences.py."""


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


WORDS: dict[str, list[str]] = {
    "person": _words(
        "baker, farmer, teacher, plumber, pilot, tailor, sailor, porter, painter, gardener, librarian, captain, "
        "engineer, photographer, shepherd, carpenter, pharmacist, dentist, chemist, potter, weaver, fisherman, "
        "mechanic, architect, author, usher, jeweler, beekeeper, bookbinder, butcher, barber, waiter, juggler, "
        "judge, mayor, vicar, nurse, vet, chef, guard, guide, clerk, youth, boy, girl, woman, drummer, violinist, "
        "geographer, geologist, biologist, physician, lawyer, surveyor, zookeeper, chauffeur, shopkeeper, "
        "yachtsman, astronomer, publisher, treasurer, official, goalkeeper, voyager, forester, watchmaker, "
        "firefighter, oboist"
    ),
    "relative": _words(
        "my father, my mother, my brother, my sister, my uncle, my aunt, my cousin, my nephew, our neighbor, her "
        "grandfather, his grandmother, your friend, their son, our daughter, his wife, her husband, the whole "
        "family"
    ),
    "name": _words(
        "Abby, Beth, Bob, Charles, Ethan, Eve, Faye, George, Hugh, Ivy, Jack, Joyce, Judith, Keith, Louise, "
        "Matthew, Maya, Owen, Paul, Phoebe, Roy, Ruth, Sasha, Sheila, Theo, Toby, Vera, Victor, Wanda, Yvonne, "
        "Zach, Zoe, Hazel, Beau, Gavin, Pippa, Thelma, Weber, Howard, Joy, Amber, Philip, Bethany, Arthur, Hugo, "
        "Boyd"
    ),
    "thing": _words(
        "paper bag, wooden box, map, lamp, umbrella, bucket, broom, ladder, hammer, bowl, basket, bottle, teapot, "
        "kettle, vase, jug, mirror, pillow, blanket, book, atlas, notebook, envelope, parcel, newspaper, magazine, "
        "watch, clock, wallet, key, button, thimble, needle, rope, pipe, pump, valve, wheel, axle, bicycle, "
        "television, telescope, microphone, camera, violin, oboe, trumpet, harp, drum, flute, toy boat, chess "
        "board, toothbrush, razor, comb, scarf, jumper, pair of gloves, belt, leather pouch, purse, hat, coat, "
        "shovel, wheelbarrow, watering can, flower pot, thermometer, barometer, compass, magnet, battery, light "
        "bulb, hinge, hook, spoon, fork, butter dish, pepper mill, jam jar, measuring cup, coffee cup, saucer, "
        "platter, treasure map, beige cushion, azure bowl, voucher, brochure, bandage, collage, mosaic, globe, "
        "puzzle, badge, yoyo, oil can"
    ),
    "surface": _words(
        "table, upper shelf, lower shelf, bench, desk, counter, window ledge, chair, footstool, workbench, porch, "
        "piano, cupboard, wardrobe, fireplace, stove, oven, washing machine, bookcase, garden wall, rug, sofa"
    ),
    "place": _words(
        "village, harbor, museum, library, bakery, theater, church, abbey, chapel, school, pharmacy, bank, mill, "
        "farm, barn, garage, workshop, bookshop, cafe, station, pier, beach, bay, park, zoo, orchard, vineyard, "
        "meadow, valley, wood, forest, bridge, waterfall, lake, pond, brook, river, gorge, tower, palace, town "
        "hall, mall, market, playground, courtyard, greenhouse, lighthouse, observatory, botanical garden, youth "
        "club, swimming pool, boathouse, shipyard, quarry, warehouse, brewery, dairy, laboratory, swamp, lagoon, "
        "oasis"
    ),
    "room": _words(
        "kitchen, hall, bathroom, bedroom, attic, cellar, office, lobby, upper floor, front room, pantry, hallway, "
        "laundry room, classroom, reading room, tool shed, study, garage"
    ),
    "animal": _words(
        "fox, owl, beaver, sparrow, pigeon, thrush, magpie, horse, pony, cow, sheep, goat, puppy, kitten, rabbit, "
        "hedgehog, badger, otter, heron, duck, goose, swan, moth, butterfly, bee, beetle, frog, toad, salamander, "
        "zebra, giraffe, camel, buffalo, wolf, bear, moose, panther, python, dolphin, whale, seal, oyster, ewe, "
        "bull"
    ),
    "food": _words(
        "apple pie, porridge, pea soup, bread and butter, fresh fish, boiled beans, roast beef, vegetable stew, "
        "brown rice, pasta, cheese, yogurt, honey, peach jam, toast, pancakes, potatoes, onion soup, mushrooms, "
        "asparagus, beetroot, cabbage, pumpkin pie, ginger bread, fruit salad, pudding, waffles, olives, walnuts, "
        "peanuts, plums, pears, cherries, oranges, lemonade, apple juice, black coffee, green tea, cocoa, fudge, "
        "porridge oats"
    ),
    "plant": _words(
        "oak, beech, maple, poplar, birch, larch, fir, pine, willow, apple tree, pear tree, peach tree, fern, ivy, "
        "moss, clover, thyme, lavender, heather, thistle, violet, foxglove, bamboo, palm, cherry tree, walnut tree"
    ),
    "material": _words(
        "wood, oak, leather, brass, copper, bronze, thick glass, paper, cloth, wool, cotton, velvet, clay, marble, "
        "rubber, wax, ivory, bamboo, smooth stone, iron, gold, silver, felt, birch bark, woven reed"
    ),
    "color": _words(
        "blue, yellow, purple, beige, brown, white, gray, green, red, orange, violet, pale blue, dark green, bright "
        "yellow, black, ivory, turquoise, mauve, ochre, maroon, azure"
    ),
    "size": _words(
        "small, big, huge, smooth, old, new, modern, usual, damp, dry, foreign, plain, rather large, fairly new, "
        "very old, used, cheap, fine, valuable, dusty, heavy, light, polished, rough, large, common, rare, dark, "
        "well-known, simple, decorated, medieval, average, good, wet, unusual, tiny, spare, second, third"
    ),
    "extent": _words(
        "small, big, huge, broad, old, new, modern, famous, former, southern, northern, eastern, western, busy, "
        "quiet, low, public, private, rather large, fairly new, very old, medieval, beautiful, young, tall"
    ),
    "time": _words(
        "on Monday, on Tuesday, on Wednesday, on Thursday, on Friday, on Saturday, on Sunday, in January, in "
        "February, in March, in April, in May, in June, in July, in August, in the autumn, in the winter, before "
        "noon, after supper, before breakfast, every other week, twice a month, at half past five, at eight, about "
        "an hour ago, this afternoon, tomorrow morning, for three months, the whole day, early in the year, at the "
        "usual hour, by now"
    ),
    "habit": _words("usually, often, always, rarely, mostly, generally, normally, seldom, frequently, occasionally"),
    "number": _words(
        "three, four, five, six, seven, eight, nine, eleven, twelve, thirteen, fifteen, twenty, thirty, forty, "
        "fifty, a few, both, several, a dozen, about a hundred, a couple of, some, many"
    ),
    "moved": _words("moved, carried, brought, pushed, pulled, shoved, took, dragged"),
    "made": _words(
        "made, bought, sold, found, fixed, borrowed, measured, painted, polished, wrapped, showed, described, "
        "chose, watched, drew, photographed, weighed, checked, mended, washed, shipped, packed, labeled, opened, "
        "used, examined"
    ),
    "base": _words(
        "move, buy, sell, find, fix, borrow, measure, paint, polish, wrap, show, choose, watch, draw, photograph, "
        "weigh, check, mend, wash, pack, open, use, fetch, bring, push, pull, catch, throw, describe, examine, "
        "leave, have"
    ),
    "went": _words(
        "walked, drove, cycled, sailed, rode, moved, went, traveled, hurried, returned, climbed, rowed, marched, ambled"
    ),
    "motion": _words(
        "walked, ran, hopped, jumped, moved, wandered, came, strolled, leapt, crept, hurried, rushed, passed"
    ),
    "position": _words(
        "above, below, beneath, behind, beside, near, under, beyond, in front of, not far from, next to, opposite, "
        "on the far side of"
    ),
    "through": _words("through, around, past, across, toward, along the edge of, out of, into, away from, beyond"),
    "city": _words(
        "Boston, Paris, Vienna, Geneva, Bombay, Tokyo, Havana, Warsaw, Oxford, Bath, Perth, Cairo, Hamburg, Verona, "
        "Philadelphia, Chicago, Jamaica, Norway, Beijing, Vermont, Persia, Peru, Wyoming, Utah, Asia, Zurich, "
        "Delhi, Java"
    ),
    "work": _words(
        "reads about, writes about, asked about, studied a book about, talks about, learns about, publishes books about"
    ),
    "subject": _words(
        "geography, history, botany, physics, biology, theology, architecture, music, the weather, old maps, bees, "
        "voyages, mythology, geology, photography, philosophy, the theater, railways, bridges, birds of prey, "
        "fishery, old furniture, chess, mathematics, the moon, the ocean, oysters, fossils, poetry, zoology"
    ),
    "weather": _words(
        "rain, snow, fog, a light breeze, mild weather, a shower, a thin layer of ice, a bit of wind, thunder, sunshine"
    ),
    "pronoun": _words("he, she, we, they, you, I"),
    "question": _words("who, which of you, which of them, how many people, how many of the pupils"),
}

TEMPLATES: tuple[str, ...] = (
    "the {person} {moved} the {thing} into the {room} {time}.",
    "the {person} {moved} a {color} {thing} to the {place}.",
    "{name} {made} a {size} {thing} {time}.",
    "{name} and {name} {made} {number} {color} cups at the {place}.",
    "there is a {color} {thing} on the {surface} in the {room}.",
    "there are {number} jars {position} the {surface}.",
    "the {thing} on the {surface} is made of {material}.",
    "the {size} {thing} {position} the {surface} belongs to {name}.",
    "could you {base} the {thing} {position} the {surface}?",
    "would you {base} the {size} {thing} for {relative}?",
    "please {base} the {color} {thing} before {name} comes.",
    "{relative} {habit} has {food} with {food}.",
    "we {habit} buy {food} at the market near the {place}.",
    "{pronoun} {went} from the {place} to the {place} {time}.",
    "{pronoun} {went} {through} the {place} with {name}.",
    "{name} {went} to {city} with the {person} {time}.",
    "a {animal} {motion} {through} the {place}.",
    "a {extent} {animal} {motion} {through} the {place}, and {name} watched it.",
    "the {animal} and the {animal} live {position} the {place}.",
    "we saw {number} birds and a {animal} {position} the {place}.",
    "the {place} {position} the {place} was built by a {person}.",
    "the road to the {place} passes a {extent} {place}.",
    "{question} knows the way to the {place}?",
    "where did {name} leave the {thing} and the {thing}?",
    "when will the {person} {base} the {thing}?",
    "why is the {thing} in the {room} and not in the {room}?",
    "how far is it from {city} to {city}?",
    "the {person} from {city} {work} {subject}.",
    "{relative} {work} {subject} and {subject}.",
    "in the {room}, the {person} {made} a {thing}.",
    "{number} kinds of {plant} grow {position} the {place}.",
    "the {plant} {position} the {place} was planted by {relative}.",
    "there was {weather} near the {place} {time}.",
    "{relative} gave the {person} a {thing} and a {thing}.",
    "{name} wants to {base} the {thing}, but {name} has it.",
    "both the {person} and the {person} came {time}.",
    "the {person} has {food}, and {name} has {food}.",
    "{number} people {went} to the {place} {time}.",
    "their {thing} is {color}, but ours is {color}.",
    "the bus to the {place} {habit} stops at the {place}.",
    "the {extent} {place} is {position} the {place}.",
    "{name} put the {thing} and the {thing} in a {size} box.",
    "if you {base} the {thing}, {name} will {base} the {thing}.",
    "before the {person} came, we {made} a {thing}.",
    "you can {base} the {thing} in the {room}.",
    "we should {base} the {thing}, the {thing} and the {thing}.",
    "this {thing} was shipped from {city} {time}.",
)
