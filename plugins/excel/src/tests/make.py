"""Makes the workbooks of this folder; see README.md."""

import datetime as dt
import io

import msoffcrypto.format.ooxml
import openpyxl
import xlsxwriter
import xlwt
from openpyxl.cell.rich_text import CellRichText, TextBlock
from openpyxl.cell.text import InlineFont

MOMENT = dt.datetime(2026, 2, 28, 13, 5, 9, 250000)

# A hidden sheet in front, a title above the table, which begins in B3.
book = openpyxl.Workbook()
book.active.title = "Notes"
book.active.sheet_state = "hidden"
book.active["A1"] = "not shown"
sheet = book.create_sheet("Calls")
sheet["B1"] = "Calls of February"
sheet.merge_cells("B1:F1")
sheet["H4"] = "a note"
rows = [
    ["number", "day", "started", "at", "lasted", "cost", "paid", "who", "calls"],
    ["0049123", dt.date(2026, 2, 28), MOMENT, dt.time(13, 5, 9), dt.timedelta(hours=26, minutes=30), 1.25, True, "Zoë", 3],
    ["007", dt.date(1900, 1, 1), dt.datetime(2026, 2, 28), dt.time(0, 0), dt.timedelta(seconds=1.5), 3, False, CellRichText("a ", TextBlock(InlineFont(b=True), "bold"), " word"), None],
    ["1", None, None, None, None, "=1/0", None, "  <&>\n ", 4],
    ["2", dt.date(9999, 12, 31), dt.datetime(9999, 12, 31, 23, 59, 59), dt.time(23, 59, 59), None, 0.1, None, "", -5],
]
for at, row in enumerate(rows):
    for column, value in enumerate(row):
        cell = sheet.cell(row=3 + at + (at > 2), column=2 + column + (column > 5), value=value)
        if isinstance(value, dt.timedelta):
            cell.number_format = "[h]:mm:ss"
        if isinstance(value, dt.datetime):
            cell.number_format = "dd/mm/yyyy hh:mm:ss.000"
# Cells with a look and no value below.
for row in range(9, 30):
    sheet.cell(row=row, column=2).number_format = "0.00"
book.create_sheet("More")["A1"] = "x"
book.save("openpyxl.xlsx")

# Days from 1904 on, formulas with what they gave, shared texts.
book = xlsxwriter.Workbook("xlsxwriter.xlsx", {"date_1904": True})
sheet = book.add_worksheet("Übersicht")
day = book.add_format({"num_format": "d mmm yyyy"})
sheet.write_row(0, 0, ["day", "twice", "text", "no", "flag"])
sheet.write_datetime(1, 0, dt.datetime(2026, 2, 28), day)
sheet.write_formula(1, 1, "=2*21", None, 42)
sheet.write_formula(1, 2, '="a"&"b"', None, "ab")
sheet.write_formula(1, 3, "=NA()", None, "#N/A")
sheet.write_formula(1, 4, "=1=1", None, "TRUE")
sheet.write_datetime(2, 0, dt.datetime(1904, 1, 1), day)
sheet.write_formula(2, 1, "=1/0", None, "#DIV/0!")
sheet.write_formula(2, 2, '=""', None, "")
sheet.write_boolean(2, 4, False)
sheet.write_string(3, 2, "_x0041_\r\n\v")
sheet.write_rich_string(4, 2, "a ", book.add_format({"bold": True}), "bold", " word")
book.close()

# Protected with a password, and of the time before 2007.
plain, packed = open("xlsxwriter.xlsx", "rb"), io.BytesIO()
msoffcrypto.format.ooxml.OOXMLFile(plain).encrypt("secret", packed)
open("protected.xlsx", "wb").write(packed.getvalue())
book = xlwt.Workbook()
book.add_sheet("Sheet1").write(0, 0, "x")
book.save("old.xls")
