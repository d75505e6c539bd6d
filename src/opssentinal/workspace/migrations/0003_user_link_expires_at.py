from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("workspace", "0002_user_limits_and_secrets"),
    ]

    operations = [
        migrations.AddField(
            model_name="user",
            name="link_expires_at",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
    ]
