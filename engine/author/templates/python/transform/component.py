"""Brings phone numbers into one form: `+`, country and digits."""

import re

import engine_plugin as engine


@engine.transform(
    "{{name}}",
    summary="Brings phone numbers into one form",
    settings={
        "column": engine.text("The text column with the numbers."),
        "country": engine.text("What replaces a leading 0, such as 49.", default="49"),
    },
    examples={"the number of a caller": {"column": "caller"}},
)
class PhoneNumbers:
    def open(self, config):
        self.column, self.country = config["column"], config["country"]

    def start(self, columns):
        if self.column not in columns:
            raise engine.Error("config", f"there is no column `{self.column}`", f"there are {', '.join(columns)}")
        return columns

    def transform(self, row):
        number = row[self.column]
        if number is None:
            return row
        digits = re.sub(r"[\s()/.-]", "", number)
        digits = re.sub(r"^(00|\+)", "", digits) if re.match(r"00|\+", digits) else re.sub("^0", self.country, digits)
        if not re.fullmatch(r"[1-9]\d{4,14}", digits, re.ASCII):
            raise engine.Reject("bad_number", f"`{number}` in `{self.column}` is no phone number")
        row[self.column] = f"+{digits}"
        return row
